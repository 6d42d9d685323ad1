// A cable between two network namespaces with delay, jitter and loss, for kernels without netem.
// wire NETNS_A IF_A NETNS_B IF_B DELAY_MS [JITTER_MS [LOSS_PERCENT]]    (each way)
// Makes a TAP in each namespace, goes to the background and carries frames; the devices vanish when it ends.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FRAME = 65536, MAX_QUEUED = 20000 };
struct frame { struct frame *next; int64_t due; ssize_t len; char data[]; };
struct queue { struct frame *first, *last; int count; };

static void fail(const char *what) { fprintf(stderr, "wire: %s: %s\n", what, strerror(errno)); exit(1); }

static int64_t now(void) { // nanoseconds
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int tap(const char *netns, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", netns);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) fail(path);
    close(ns);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) fail("/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (ioctl(fd, TUNSETIFF, &request) < 0) fail(name);
    return fd;
}

static void receive(int fd, struct queue *q, int64_t delay, int64_t jitter, double loss) {
    static char buffer[MAX_FRAME];
    ssize_t len;
    while ((len = read(fd, buffer, sizeof buffer)) > 0) {
        if (drand48() < loss || q->count >= MAX_QUEUED) continue;
        struct frame *f = malloc(sizeof *f + len);
        if (!f) continue;
        f->next = NULL, f->len = len, f->due = now() + delay + (int64_t)(jitter * drand48());
        memcpy(f->data, buffer, len);
        if (q->first && f->due < q->last->due) f->due = q->last->due; // a cable keeps the order
        if (q->first) q->last->next = f; else q->first = f;
        q->last = f, q->count++;
    }
}

static void deliver(int fd, struct queue *q) {
    for (struct frame *f; (f = q->first) && f->due <= now(); q->count--) {
        q->first = f->next;
        if (write(fd, f->data, f->len) < 0) { /* the far end is down: the frame is lost, as on any cable */ }
        free(f);
    }
}

int main(int argc, char **argv) {
    if (argc < 6) { fprintf(stderr, "usage: wire NETNS_A IF_A NETNS_B IF_B DELAY_MS [JITTER_MS [LOSS_PERCENT]]\n"); return 2; }
    int64_t delay = atof(argv[5]) * 1e6, jitter = argc > 6 ? atof(argv[6]) * 1e6 : 0;
    double loss = argc > 7 ? atof(argv[7]) / 100 : 0;
    struct pollfd end[2] = {{tap(argv[1], argv[2]), POLLIN, 0}, {tap(argv[3], argv[4]), POLLIN, 0}};
    struct queue from[2] = {0};
    prctl(PR_SET_TIMERSLACK, 1);
    setpriority(PRIO_PROCESS, 0, -20); // the delay is not to grow with the machine's load
    srand48(getpid());
    if (daemon(0, 0) < 0) fail("daemon");
    for (;;) {
        int64_t wait = INT64_MAX;
        for (int i = 0; i < 2; i++)
            if (from[i].first && from[i].first->due - now() < wait) wait = from[i].first->due - now();
        if (wait < 0) wait = 0;
        struct timespec t = {wait / 1000000000, wait % 1000000000};
        ppoll(end, 2, wait == INT64_MAX ? NULL : &t, NULL);
        for (int i = 0; i < 2; i++) receive(end[i].fd, &from[i], delay, jitter, loss);
        for (int i = 0; i < 2; i++) deliver(end[!i].fd, &from[i]);
    }
}
