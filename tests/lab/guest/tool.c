// What a guest needs beyond busybox, in one static program; "ra" runs beside the lab's bridge.
//   json FILE                     a JSON text as lines "path<TAB>value"; newlines in values become \n
//   relay PORT ADDRESS PORT       carries each connection to PORT on to another place
//   page PORT FILE                answers each request to PORT with FILE
//   exit CODE                     ends the virtual machine: it is switched off, not booted again
//   ra IFNAME                     a router advertisement that offers nothing: firmware that waits for one goes on at once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what) { fprintf(stderr, "tool: %s: %s\n", what, errno ? strerror(errno) : "bad input"); exit(1); }

static char *whole(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) fail(path);
    size_t len = 0, room = 1 << 16;
    char *text = malloc(room);
    for (ssize_t n; text && (n = read(fd, text + len, room - len - 1)) > 0;) {
        len += n;
        if (room - len < 2) text = realloc(text, room *= 2);
    }
    if (!text) fail("memory");
    text[len] = 0;
    close(fd);
    return text;
}

// --- json
static const char *at;
static char path[4096];

static void blank(void) { at += strspn(at, " \t\r\n"); }
static void bad(void) { errno = 0; fail("json"); }

static void utf8(unsigned code, FILE *out) {
    if (code == '\n') fputs("\\n", out);
    else if (code < 0x80) fputc(code, out);
    else if (code < 0x800) fprintf(out, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 0x3f));
    else fprintf(out, "%c%c%c", 0xe0 | code >> 12, 0x80 | (code >> 6 & 0x3f), 0x80 | (code & 0x3f));
}

static void string(FILE *out) {
    if (*at++ != '"') bad();
    for (; *at != '"'; at++) {
        if (!*at) bad();
        if (*at != '\\') { fputc(*at, out); continue; }
        const char *known = "\"\\/bfnrt", *plain = "\"\\/\b\f\n\r\t", *found;
        unsigned code;
        if (*++at == 'u') {
            if (sscanf(at + 1, "%4x", &code) != 1) bad();
            at += 4;
        } else {
            if (!*at || !(found = strchr(known, *at))) bad();
            code = plain[found - known];
        }
        utf8(code, out);
    }
    at++;
}

static void value(size_t depth) {
    blank();
    char open = *at, close = open == '{' ? '}' : ']', *key;
    if (open != '{' && open != '[') {
        printf("%s\t", path);
        if (open == '"') string(stdout);
        else {
            size_t len = strcspn(at, ",]} \t\r\n");
            if (!len) bad();
            fwrite(at, 1, len, stdout);
            at += len;
        }
        putchar('\n');
        return;
    }
    at++;
    blank();
    for (int n = 0; *at != close; n++) {
        size_t len, mark = depth;
        if (n) { if (*at++ != ',') bad(); blank(); }
        if (open == '{') {
            FILE *out = open_memstream(&key, &len);
            string(out);
            fclose(out);
            blank();
            if (*at++ != ':') bad();
            mark += snprintf(path + mark, sizeof path - mark, "%s%s", mark ? "." : "", key);
            free(key);
        } else mark += snprintf(path + mark, sizeof path - mark, "[%d]", n);
        if (mark >= sizeof path - 16) bad();
        value(mark);
        path[depth] = 0;
        blank();
    }
    at++;
}

static void json(const char *file) {
    at = whole(file);
    value(0);
    blank();
    if (*at) bad();
}

// --- relay, page
static void serve(const char *port, void (*each)(int, char **), char **words) {
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, 64)) fail(port);
    for (;;) {
        int one = accept(listener, NULL, NULL);
        if (one < 0) continue;
        if (fork() == 0) { close(listener); each(one, words); exit(0); }
        close(one);
    }
}

static int all(int fd, const char *bytes, ssize_t len) {
    for (ssize_t n; len > 0; bytes += n, len -= n)
        if ((n = write(fd, bytes, len)) <= 0) return 0;
    return 1;
}

static void carry(int here, char **words) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    int there = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, words[0], &to.sin_addr) != 1 || connect(there, (void *)&to, sizeof to)) return;
    struct pollfd ends[2] = {{.fd = here, .events = POLLIN}, {.fd = there, .events = POLLIN}};
    int fds[2] = {here, there};
    for (int open = 2; open > 0 && poll(ends, 2, -1) > 0;)
        for (int i = 0; i < 2; i++) {
            static char bytes[1 << 16];
            if (ends[i].fd < 0 || !ends[i].revents) continue;
            ssize_t n = read(fds[i], bytes, sizeof bytes);
            if (n > 0) { if (!all(fds[!i], bytes, n)) return; continue; }
            shutdown(fds[!i], SHUT_WR);
            ends[i].fd = -1;
            open--;
        }
}

static void page(int one, char **words) {
    char bytes[4096], *text = whole(words[0]);
    size_t got = 0;
    for (ssize_t n; got < sizeof bytes - 1 && (n = read(one, bytes + got, sizeof bytes - 1 - got)) > 0;) {
        bytes[got += n] = 0;
        if (strstr(bytes, "\r\n\r\n")) break;
    }
    if (!got) return;
    dprintf(one, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(text), text);
}

// --- ra
static void advertise(const char *name) {
    int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), index = if_nametoindex(name), hops = 255;
    if (fd < 0 || !index || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name) + 1)) fail(name);
    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index);
    struct icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ND_ROUTER_SOLICIT, &filter);
    setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
    struct ipv6_mreq group = {.ipv6mr_interface = index};
    inet_pton(AF_INET6, "ff02::2", &group.ipv6mr_multiaddr);
    setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof group);
    struct sockaddr_in6 nodes = {.sin6_family = AF_INET6, .sin6_scope_id = index};
    inet_pton(AF_INET6, "ff02::1", &nodes.sin6_addr);
    struct nd_router_advert nothing = {.nd_ra_type = ND_ROUTER_ADVERT};
    struct pollfd asked = {.fd = fd, .events = POLLIN};
    for (char bytes[512];;) {
        sendto(fd, &nothing, sizeof nothing, 0, (void *)&nodes, sizeof nodes);
        if (poll(&asked, 1, 1000) > 0) (void)!read(fd, bytes, sizeof bytes);
    }
}

int main(int n, char **words) {
    const char *verb = n > 1 ? words[1] : "";
    if (!strcmp(verb, "json") && n == 3) json(words[2]);
    else if (!strcmp(verb, "relay") && n == 5) serve(words[2], carry, words + 3);
    else if (!strcmp(verb, "page") && n == 4) serve(words[2], page, words + 3);
    else if (!strcmp(verb, "ra") && n == 3) advertise(words[2]);
    else if (!strcmp(verb, "exit") && n == 3) {
        if (ioperm(0x501, 1, 1)) fail("ioperm");
        outb(atoi(words[2]), 0x501);
    } else { fputs("tool: json|relay|page|ra|exit\n", stderr); return 2; }
    return 0;
}
