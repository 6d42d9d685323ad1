//! The corpus of filters, tests and lookups: what each gives, in tables. The values were taken from Ansible,
//! Jinja2, PyYAML and netaddr themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

use super::corpus::{World, check, render, sample};
use super::*;

#[test]
fn single_values() {
    check(&[
        ("{{ '12' | int + 1 }}", "13"),
        (
            "{{ 'x' | int }} {{ 'x' | int(7) }} {{ '3.9' | int }} {{ 3.9 | int }} {{ 'ff' | int(base=16) }}",
            r#""0 7 3 3 255""#,
        ),
        ("{{ '2.5' | float }}", "2.5"),
        ("{{ 'x' | float }}", "0.0"),
        (
            "{{ ['yes', 'on', 'True', '1', 1, true] | map('bool') | list }}",
            "[true, true, true, true, true, true]",
        ),
        (
            "{{ ['no', 'off', 'x', 0, 2, false] | map('bool') | list }}",
            "[false, false, false, false, false, false]",
        ),
        ("{{ nothing | bool }}", "false"),
        ("{{ port | string }}", r#""6443""#),
        (
            "{{ true | ternary('a', 'b') }}{{ 0 | ternary('a', 'b') }}{{ none | ternary('a', 'b', 'c') }}",
            r#""abc""#,
        ),
        (
            "{{ [1, 'a', 1.5, true, none, [], {}] | map('type_debug') | list }}",
            r#"["int", "str", "float", "bool", "NoneType", "list", "dict"]"#,
        ),
        ("{{ -5 | abs }} {{ (-5) | abs }}", r#""5 5""#),
        (
            "{{ 42.55 | round }} {{ 42.55 | round(1, 'floor') }} {{ 2.5 | round }} {{ 1.4 | round(0, 'ceil') }}",
            r#""43.0 42.5 2.0 2.0""#,
        ),
        ("{{ 1048576 | human_readable }}", r#""1.00 MB""#),
        (
            "{{ 10 | human_readable }} {{ 10 | human_readable(isbits=true) }} {{ 102400000 | human_readable(unit='G') }}",
            r#""10.00 Bytes 10.00 bits 0.10 GB""#,
        ),
        (
            "{{ '1.15 GB' | human_to_bytes }} {{ '10M' | human_to_bytes }} {{ '12' | human_to_bytes('K') }}",
            r#""1234803098 10485760 12288""#,
        ),
        (
            "{{ 8 | log(2) }} {{ 2 | pow(5) }} {{ 8 | root(3) }} {{ 16 | root }}",
            r#""3.0 32.0 2.0 4.0""#,
        ),
    ]);
}

#[test]
fn text_filters() {
    check(&[
        (
            "{{ 'aB c' | upper }}{{ 'aB' | lower }}{{ 'foo bar' | title }}{{ 'fOO' | capitalize }}",
            r#""AB CabFoo BarFoo""#,
        ),
        ("{{ '  x ' | trim }}|{{ 'xxaxx' | trim('x') }}", r#""x|a""#),
        (
            "{{ 'a-b-c' | replace('-', '+') }} {{ 'a-b-c' | replace('-', '+', 1) }}",
            r#""a+b+c a+b-c""#,
        ),
        ("{{ 'a,b,c' | split(',') }}", r#"["a", "b", "c"]"#),
        ("{{ ' a  b ' | split }}", r#"["a", "b"]"#),
        ("{{ 'a,b,c' | split(',', 1) }}", r#"["a", "b,c"]"#),
        ("{{ 'a\nb\n\nc' | indent(2) }}", r#""a\n  b\n\n  c""#),
        ("{{ 'a\nb' | indent(2, true) }}", r#""  a\n  b""#),
        ("{{ 'a\nb' | indent('> ', first=True) }}", r#""> a\n> b""#),
        (
            "{{ 'the quick brown fox' | wordwrap(10) }}",
            r#""the quick\nbrown fox""#,
        ),
        (
            "{{ 'foo' | center(9) }}|{{ 'ab' | center(5) }}|",
            r#""   foo   |  ab |""#,
        ),
        (
            "{{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11) }}",
            r#""foo... foo ba... foo bar baz qux""#,
        ),
        ("{{ 'a b c' | wordcount }}", "3"),
        (
            "{{ '%s:%d' | format('a', 5) }} {{ '%(x)s' | format(x=1) }} {{ '%03d' | format(7) }}",
            r#""a:5 1 007""#,
        ),
        ("{{ 'text' | comment }}", r##""#\n# text\n#""##),
        ("{{ 'a\nb' | comment('c') }}", r#""//\n// a\n// b\n//""#),
        ("{{ 'a' | comment('cblock') }}", r#""/*\n *\n * a\n *\n */""#),
        ("{{ 'a' | comment('xml') }}", r#""<!--\n -\n - a\n -\n-->""#),
        (
            "{{ 'a' | comment('plain', prefix='*', postfix='') }}",
            r##""*\n# a\n""##,
        ),
        (
            "{{ 'a b' | quote }} {{ '' | quote }} {{ 'a' | quote }} {{ \"it's\" | quote }}",
            r#""'a b' '' a 'it'\"'\"'s'""#,
        ),
        ("{{ 'ansible' | regex_replace('^a.*i(.*)$', 'a\\1') }}", r#""able""#),
        (
            "{{ 'foo:80' | regex_replace('^(?P<host>.+):(?P<port>\\d+)$', '\\g<host>, \\g<port>') }}",
            r#""foo, 80""#,
        ),
        (
            "{{ 'aaa' | regex_replace('a', 'b', count=2) }} {{ 'AbA' | regex_replace('a', 'x', ignorecase=True) }}",
            r#""bba xbx""#,
        ),
        (
            "{{ 'server1/database42' | regex_search('database[0-9]+') }}",
            r#""database42""#,
        ),
        (
            "{{ 'server1/database42' | regex_search('server([0-9]+)/database([0-9]+)', '\\1', '\\2') }}",
            r#"["1", "42"]"#,
        ),
        ("{{ 'ansible' | regex_search('foobar') }}", "null"),
        (
            "{{ 'x 8.8.8.8 and 8.8.4.4' | regex_findall('\\b(?:[0-9]{1,3}\\.){3}[0-9]{1,3}\\b') }}",
            r#"["8.8.8.8", "8.8.4.4"]"#,
        ),
        (
            "{{ 'a1b2' | regex_findall('([a-z])([0-9])') }}",
            r#"[["a", "1"], ["b", "2"]]"#,
        ),
        ("{{ '^f.*o(.*)$' | regex_escape }}", r#""\\^f\\.\\*o\\(\\.\\*\\)\\$""#),
        (
            "{{ 'a' | regex_search('(?=a)') }}",
            "template-error: the regular expression `(?=a)` cannot be used: look-around, including look-ahead and look-behind, is not supported",
        ),
        ("{{ '<a>' | escape }} {{ 'x' | safe }}", r#""&lt;a&gt; x""#),
        (
            "{{ 'prefix-x'.removeprefix('prefix-') }}{{ '7'.zfill(3) }}{{ 'ab'.startswith('a') }}{{ '{}-{}'.format(1, 2) }}",
            r#""x007True1-2""#,
        ),
    ]);
}

#[test]
fn list_filters() {
    check(&[
        (
            "{{ list | first }}{{ list | last }}{{ list | length }}{{ list | count }}",
            r#""bc33""#,
        ),
        ("{{ [] | first | default('none') }}", r#""none""#),
        ("{{ 'abc' | list }}", r#"["a", "b", "c"]"#),
        (
            "{{ list | reverse | list }} {{ 'abc' | reverse }}",
            r#""['c', 'a', 'b'] cba""#,
        ),
        (
            "{{ list | join(', ') }} {{ users | join(',', attribute='name') }} {{ [1, true] | join }}",
            r#""b, a, c eve,adam,Bob 1True""#,
        ),
        (
            "{{ list | sort }} {{ list | sort(reverse=true) }}",
            r#""['a', 'b', 'c'] ['c', 'b', 'a']""#,
        ),
        (
            "{{ users | sort(attribute='name') | map(attribute='name') | list }}",
            r#"["adam", "Bob", "eve"]"#,
        ),
        (
            "{{ users | sort(attribute='name', case_sensitive=true) | map(attribute='name') | list }}",
            r#"["Bob", "adam", "eve"]"#,
        ),
        (
            "{{ [1, 'a'] | sort }}",
            "template-error: a string cannot be ordered with a number",
        ),
        (
            "{{ numbers | min }}{{ numbers | max }}{{ numbers | sum }} {{ [1.5, 2] | sum }}",
            r#""136 3.5""#,
        ),
        ("{{ (users | max(attribute='uid')).name }}", r#""Bob""#),
        (
            "{{ users | sum(attribute='uid') }} {{ [[1], [2]] | sum(start=[]) }}",
            r#""3003 [1, 2]""#,
        ),
        (
            "{{ [1, [2, [3, none]]] | flatten }} {{ [1, [2, [3]]] | flatten(levels=1) }}",
            r#""[1, 2, 3] [1, 2, [3]]""#,
        ),
        (
            "{{ [1, 2, 3] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 0) | list }}",
            r#""[[1, 2], [3]] [[1, 2], [3, 0]]""#,
        ),
        ("{{ [1, 2, 3, 4] | slice(3) | list }}", "[[1, 2], [3], [4]]"),
        ("{{ [1, 2] | zip(['a', 'b', 'c']) | list }}", r#"[[1, "a"], [2, "b"]]"#),
        (
            "{{ [1] | zip_longest(['a', 'b'], fillvalue='x') | list }}",
            r#"[[1, "a"], ["x", "b"]]"#,
        ),
        ("{{ [1, 2] | product(['a']) | list }}", r#"[[1, "a"], [2, "a"]]"#),
        (
            "{{ [1, 2, 3] | permutations(2) | list | length }} {{ [1, 2, 3] | combinations(2) | list }}",
            r#""6 [[1, 2], [1, 3], [2, 3]]""#,
        ),
        ("{{ [0, 2] | map('extract', ['x', 'y', 'z']) | list }}", r#"["x", "z"]"#),
        (
            "{{ 'os' | extract(host, 'family') }} {{ 'os' | extract(host, ['family']) }}",
            r#""RedHat RedHat""#,
        ),
        ("{{ 59 | random(seed='h') == 59 | random(seed='h') }}", "true"),
        ("{{ list | shuffle(seed='x') | sort }}", r#"["a", "b", "c"]"#),
        ("{{ list | random(seed=1) in list }}", "true"),
        (
            "{{ 5 | random }}",
            "template-error: `random` needs a seed, such as `seed=inventory_hostname`: a run that is repeated must give the same result",
        ),
        ("{{ [1, 2, 2, 'A', 'a'] | unique }}", r#"[1, 2, "A"]"#),
        (
            "{{ ['A', 'a'] | unique(case_sensitive=true) }} {{ users | unique(attribute='uid') | length }}",
            r#""['A', 'a'] 3""#,
        ),
        (
            "{{ [1, 2] | union([2, 3]) }} {{ [1, 2] | intersect([2, 3]) }}",
            r#""[1, 2, 3] [2]""#,
        ),
        (
            "{{ [1, 2] | difference([2, 3]) }} {{ [1, 2] | symmetric_difference([2, 3]) }}",
            r#""[1] [1, 3]""#,
        ),
    ]);
}

#[test]
fn filters_over_items() {
    check(&[
        ("{{ list | map('upper') | list }}", r#"["B", "A", "C"]"#),
        (
            "{{ users | map(attribute='groups.0') | list }}",
            r#"["g0", "g1", "g2"]"#,
        ),
        (
            "{{ users | map(attribute='shell') | list }}",
            "template-error: an item has no attribute `shell`; give `default=` where that may be",
        ),
        (
            "{{ ['a1', 'b2'] | map('regex_replace', '[0-9]', '') | list }}",
            r#"["a", "b"]"#,
        ),
        (
            "{{ [1, 2, 3] | select('odd') | list }} {{ [1, 2, 3] | reject('odd') | list }}",
            r#""[1, 3] [2]""#,
        ),
        ("{{ ['', 'a', none] | select | list }}", r#"["a"]"#),
        ("{{ ['x1', 'y'] | select('match', 'x') | list }}", r#"["x1"]"#),
        (
            "{{ users | selectattr('name', 'eq', 'eve') | map(attribute='uid') | list }}",
            "[1000]",
        ),
        (
            "{{ users | selectattr('uid', '>', 1000) | map(attribute='name') | list }}",
            r#"["adam", "Bob"]"#,
        ),
        (
            "{{ users | selectattr('shell', 'defined') | list }} {{ users | rejectattr('name', 'in', ['eve', 'adam']) | map(attribute='name') | first }}",
            r#""[] Bob""#,
        ),
        (
            "{{ users | selectattr('groups', 'contains', 'g1') | map(attribute='name') | first }}",
            r#""adam""#,
        ),
        (
            "{{ [{'k': 'b', 'v': 1}, {'k': 'a', 'v': 2}, {'k': 'b', 'v': 3}] | groupby('k') }}",
            r#"[["a", [{"k": "a", "v": 2}]], ["b", [{"k": "b", "v": 1}, {"k": "b", "v": 3}]]]"#,
        ),
        (
            "{% for k, v in users | groupby('uid') %}{{ k }}={{ v | length }} {% endfor %}",
            r#""1000=1 1001=1 1002=1 ""#,
        ),
    ]);
}

#[test]
fn mappings() {
    check(&[
        ("{{ {'a': 1} | combine({'b': 2}) }}", r#"{"a": 1, "b": 2}"#),
        ("{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}) }}", r#"{"a": {"y": 2}}"#),
        (
            "{{ {'a': {'x': 1, 'l': [1]}} | combine({'a': {'y': 2, 'l': [2]}}, recursive=True, list_merge='append') }}",
            r#"{"a": {"x": 1, "l": [1, 2], "y": 2}}"#,
        ),
        (
            "{{ [{'a': 1}, {'a': 2}] | combine }} {{ {} | combine([{'a': 1}, {'b': 2}]) }}",
            r#""{'a': 2} {'a': 1, 'b': 2}""#,
        ),
        (
            "{{ {'l': [1, 2]} | combine({'l': [2, 3]}, list_merge='append_rp') }} {{ {'l': [1, 2]} | combine({'l': [2, 3]}, list_merge='prepend_rp') }}",
            r#""{'l': [1, 2, 3]} {'l': [2, 3, 1]}""#,
        ),
        (
            "{{ {'a': 1, 'b': 2} | dict2items }}",
            r#"[{"key": "a", "value": 1}, {"key": "b", "value": 2}]"#,
        ),
        (
            "{{ {'a': 1} | dict2items(key_name='n', value_name='v') }}",
            r#"[{"n": "a", "v": 1}]"#,
        ),
        (
            "{{ [{'key': 'a', 'value': 1}] | items2dict }} {{ [{'n': 'a', 'v': 1}] | items2dict('n', 'v') }}",
            r#""{'a': 1} {'a': 1}""#,
        ),
        (
            "{{ [['a', 1]] | dict }} {{ {'b': 1} | items | list }}",
            r#""{'a': 1} [['b', 1]]""#,
        ),
        (
            "{{ {'b': 1, 'a': 2} | dictsort }} {{ {'b': 1, 'a': 2} | dictsort(by='value') | first | first }}",
            r#""[['a', 2], ['b', 1]] b""#,
        ),
        (
            "{{ users | rekey_on_member('name') | list }}",
            r#"["eve", "adam", "Bob"]"#,
        ),
        (
            "{{ users | subelements('groups') | map('last') | list }}",
            r#"["g0", "wheel", "g1", "wheel", "g2", "wheel"]"#,
        ),
        ("{{ users | subelements('keys', skip_missing=True) }}", "[]"),
        ("{{ host | attr('name') }}", r#""bastion""#),
        (
            "{{ host | combine(port) }}",
            "template-error: `combine` needs a mapping, not a number",
        ),
    ]);
}

#[test]
fn encodings() {
    check(&[
        (
            "{{ {'b': [1, 2.0, true, none], 'a': 'é\"'} | to_json }}",
            r#""{\"b\": [1, 2.0, true, null], \"a\": \"\\u00e9\\\"\"}""#,
        ),
        (
            "{{ {'b': [1, {}], 'a': []} | to_nice_json }}",
            r#""{\n    \"a\": [],\n    \"b\": [\n        1,\n        {}\n    ]\n}""#,
        ),
        ("{{ {'a': 1} | to_nice_json(indent=2) }}", r#""{\n  \"a\": 1\n}""#),
        (
            "{{ {'a': 'é'} | to_json(ensure_ascii=False, separators=(',', ':')) }}",
            r#""{\"a\":\"é\"}""#,
        ),
        (
            "{{ '{\"a\": [1, 2.5, null]}' | from_json }}",
            r#"{"a": [1, 2.5, null]}"#,
        ),
        (
            "{{ 'a: 1\nb: [x, yes]\n' | from_yaml }}",
            r#"{"a": 1, "b": ["x", true]}"#,
        ),
        ("{{ 'a: 1\n---\n- 2\n' | from_yaml_all }}", r#"[{"a": 1}, [2]]"#),
        ("{{ 'hi' | b64encode }} {{ 'aGk=' | b64decode }}", r#""aGk= hi""#),
        (
            "{{ 'a' | sha1 }} {{ [1] | tojson }} {{ '<' | forceescape }}",
            r#""86f7e437faa5a7fce15d1ddcb9eaeaea377667b8 [1] &lt;""#,
        ),
        ("{{ 'a' | hash }}", r#""86f7e437faa5a7fce15d1ddcb9eaeaea377667b8""#),
        (
            "{{ 'a' | hash('md5') }} {{ 'a' | md5 }}",
            r#""0cc175b9c0f1b6a831c399e269772661 0cc175b9c0f1b6a831c399e269772661""#,
        ),
        (
            "{{ 'a' | hash('sha256') }}",
            r#""ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb""#,
        ),
        (
            "{{ ('a' | hash('sha512'))[:16] }} {{ 'a' | checksum }}",
            r#""1f40fc92da241694 86f7e437faa5a7fce15d1ddcb9eaeaea377667b8""#,
        ),
        ("{{ 'hello' | to_uuid }}", r#""9518e9b7-3af9-5e6c-b924-2eac65ffcd8e""#),
        (
            "{{ 'a b/c?d' | urlencode }} {{ {'a': 'b c', 'd': 1} | urlencode }} {{ 'a%20b+c' | urldecode }}",
            r#""a%20b/c%3Fd a=b+c&d=1 a b c""#,
        ),
        (
            "{{ 'http://user:password@www.acme.com:9000/dir/index.html?query=term#fragment' | urlsplit('hostname') }}",
            r#""www.acme.com""#,
        ),
        (
            "{{ 'http://u:p@h:90/d?q=t#f' | urlsplit }}",
            r#"{"fragment": "f", "hostname": "h", "netloc": "u:p@h:90", "password": "p", "path": "/d", "port": 90, "query": "q=t", "scheme": "http", "username": "u"}"#,
        ),
        (
            "{{ 'x' | b64decode }}",
            "template-error: `b64decode`: the text is not base64",
        ),
        (
            "{{ 'x' | password_hash('sha512') }}",
            "template-error: `password_hash` needs a salt of its own: with a random one every run would change the hash",
        ),
        (
            "{{ 'Hello world!' | password_hash('sha512', 'saltstring') }}",
            r#""$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1""#,
        ),
        (
            "{{ 'Hello world!' | password_hash('sha256', 'saltstring') }}",
            r#""$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5""#,
        ),
        (
            "{{ 'Hello world!' | password_hash('sha512', 'saltstringsaltst', rounds=10000) }}",
            r#""$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.""#,
        ),
        (
            "{{ ('a' * 100) | password_hash('sha256', 'ab') }} {{ '' | password_hash(salt='ab') }}",
            r#""$5$ab$lBrP/rIkh.gdOJZIbdYxQ7xaYMKZgrNW3dpes1c6mv0 $6$ab$xnh5Qsr2NdbFw1PgdZie7nLON3gv.S.23iQDBqAzkdoXPtDnVSpludXkM5UWybQO3OI7hBj9wHg9Ow6sUWD60/""#,
        ),
        (
            "{{ 'x' | json_query('a') }}",
            "unknown-filter: there is no filter `json_query`",
        ),
    ]);
}

#[test]
fn yaml_as_pyyaml_writes_it() {
    let rows = [
        ("{'b': 1, 'a': [1, 2]}", "a: [1, 2]\nb: 1\n"),
        (
            "{'a': {'x': 1}, 'b': [{'c': 1, 'd': [2]}]}",
            "a: {x: 1}\nb:\n- c: 1\n  d: [2]\n",
        ),
        ("'abc'", "abc\n"),
        ("''", "''\n"),
        ("[]", "[]\n"),
    ];
    for (value, want) in rows {
        assert_eq!(
            render(sample(), &format!("{{{{ {value} | to_yaml }}}}")).unwrap(),
            Value::from(want),
            "{value}"
        );
    }
    let nice = [
        (
            "{'b': 1, 'a': [1, {'x': 1, 'y': [2]}]}",
            "a:\n- 1\n-   x: 1\n    y:\n    - 2\nb: 1\n",
        ),
        ("[[1, 2], {'a': 'b'}]", "-   - 1\n    - 2\n-   a: b\n"),
        (
            "{'a': 'yes', 'b': '1', 'c': true, 'd': none, 'e': '', 'f': 1.5, 'g': '1.5', 'h': '~'}",
            "a: 'yes'\nb: '1'\nc: true\nd: null\ne: ''\nf: 1.5\ng: '1.5'\nh: '~'\n",
        ),
        (
            "{'a': 'x: y', 'b': '#c', 'c': 'a #b', 'd': '- x', 'e': '@x', 'f': ' x', 'g': \"it's\", 'h': 'a:b', 'i': '2001-01-01'}",
            "a: 'x: y'\nb: '#c'\nc: 'a #b'\nd: '- x'\ne: '@x'\nf: ' x'\ng: it's\nh: a:b\ni: '2001-01-01'\n",
        ),
        (
            "{'a': 'one\ntwo\n', 'b': 'tab\there', 'c': 'é'}",
            "a: 'one\n\n    two\n\n    '\nb: \"tab\\there\"\nc: é\n",
        ),
        (
            "{'a': {}, 'b': [], 'c': 1e30, 'd': '0644', 'e': '1_000', 'f': '12:30', 'g': '08'}",
            "a: {}\nb: []\nc: 1.0e+30\nd: '0644'\ne: '1_000'\nf: '12:30'\ng: 08\n",
        ),
        (
            "{'k': 'word word word word word word word word word word word word word word word word word word end'}",
            "k: word word word word word word word word word word word word word word word word\n    word word end\n",
        ),
        (
            "{'k': 'word: word word word word word word word word word word word word word word word word word end'}",
            "k: 'word: word word word word word word word word word word word word word word word\n    word word end'\n",
        ),
    ];
    for (value, want) in nice {
        assert_eq!(
            render(sample(), &format!("{{{{ {value} | to_nice_yaml }}}}")).unwrap(),
            Value::from(want),
            "{value}"
        );
    }
    assert_eq!(
        render(sample(), "{{ {'a': {'b': 1}} | to_nice_yaml(indent=2) }}").unwrap(),
        Value::from("a:\n  b: 1\n")
    );
    assert_eq!(
        render(sample(), "{{ {'b': 1, 'a': 2} | to_nice_yaml(sort_keys=False) }}").unwrap(),
        Value::from("b: 1\na: 2\n")
    );
}

#[test]
fn paths_versions_times() {
    check(&[
        (
            "{{ '/etc/x.conf' | basename }} {{ '/etc/x.conf' | dirname }} {{ 'x' | dirname }}| {{ '/etc/' | basename }}|",
            r#""x.conf /etc | |""#,
        ),
        (
            "{{ '/a/b.tar.gz' | splitext }} {{ '.bashrc' | splitext | last }}|",
            r#""['/a/b.tar', '.gz'] |""#,
        ),
        (
            "{{ ['/etc', 'x', '../y'] | path_join }} {{ ['a', '/b'] | path_join }}",
            r#""/etc/x/../y /b""#,
        ),
        (
            "{{ '/a/../b/./c//d' | normpath }} {{ '/etc/x' | relpath('/etc/y') }} {{ '/a/b/c' | relpath('/a') }}",
            r#""/b/c/d ../x b/c""#,
        ),
        (
            "{{ '/nope/../x-y-z' | realpath }} {{ ['/a/b/c', '/a/b/d'] | commonpath }}",
            r#""/x-y-z /a/b""#,
        ),
        (
            "{{ '$NOPE_X/${NOPE_X}' | expandvars }} {{ '~nobody' | expanduser }} {{ '/nope-x/*.x' | fileglob }}",
            r#""$NOPE_X/${NOPE_X} ~nobody []""#,
        ),
        ("{{ '1.1' | version_compare('1.0', '>') }}", "true"),
        (
            "{{ '1.10' is version('1.9', '>') }} {{ '9.2' | version('9.10', '<') }} {{ '1.0.0-rc1' is version('1.0.0', '<', version_type='semver') }}",
            r#""True True True""#,
        ),
        (
            "{{ '4.15.0' is version_compare('4.15', 'ge') }} {{ 'a' is version('b', '~') }}",
            "template-error: `version` knows ==, !=, <, <=, > and >=, not `~`",
        ),
        (
            "{{ '%Y-%m-%d %H:%M:%S' | strftime(1441357287) }} {{ '%j %a %b %-d' | strftime(0) }}",
            r#""2015-09-04 09:01:27 001 Thu Jan 1""#,
        ),
        (
            "{{ ('2016-08-14 20:00:12' | to_datetime).strftime('%d.%m.%y') }} {{ ('2016-02-29' | to_datetime('%Y-%m-%d')).year }}",
            r#""14.08.16 2016""#,
        ),
        ("{{ '2016-08-14 20:00:12' | to_datetime }}", r#""2016-08-14 20:00:12""#),
        (
            "{{ ('2016-08-14 20:00:12' | to_datetime).timestamp() }}",
            "1471204812.0",
        ),
        (
            "{{ 'x' | to_datetime }}",
            "template-error: `x` does not match the date format `%Y-%m-%d %H:%M:%S`",
        ),
        ("{{ now().year > 2020 and now(fmt='%Y') | int > 2020 }}", "true"),
    ]);
}

#[test]
fn addresses() {
    check(&[
        (
            "{{ ['192.24.2.1', 'host.fqdn', '::1', '192.168.32.0/24', 'fe80::100/10', true, ''] | ipaddr }}",
            r#"["192.24.2.1", "::1", "192.168.32.0/24", "fe80::100/10"]"#,
        ),
        (
            "{{ ['192.24.2.1', '192.168.32.0/24', 'fe80::100/10'] | ipaddr('address') }}",
            r#"["192.24.2.1", "fe80::100"]"#,
        ),
        (
            "{{ ['192.24.2.1', '192.168.32.0/24', 'fe80::100/10'] | ipaddr('host') }}",
            r#"["192.24.2.1/32", "fe80::100/10"]"#,
        ),
        (
            "{{ ['192.24.2.1', '192.168.32.0/24'] | ipaddr('net') }}",
            r#"["192.168.32.0/24"]"#,
        ),
        (
            "{{ ['192.168.32.0/24', 'fe80::100/10'] | ipv4 }} {{ ['192.168.32.0/24', 'fe80::100/10'] | ipv6 }}",
            r#""['192.168.32.0/24'] ['fe80::100/10']""#,
        ),
        (
            "{{ '10.0.0.7/24' | ipaddr('network') }} {{ '10.0.0.7/24' | ipaddr('netmask') }} {{ '10.0.0.7/24' | ipaddr('prefix') }} {{ '10.0.0.7/24' | ipaddr('broadcast') }}",
            r#""10.0.0.0 255.255.255.0 24 10.0.0.255""#,
        ),
        (
            "{{ '10.0.0.7/24' | ipaddr('subnet') }} {{ '10.0.0.7/24' | ipaddr('address') }} {{ '10.0.0.7/24' | ipaddr('address/prefix') }} {{ '10.0.0.7/24' | ipaddr('gateway') }}",
            r#""10.0.0.0/24 10.0.0.7 10.0.0.7/24 10.0.0.7/24""#,
        ),
        (
            "{{ '10.0.0.0/24' | ipaddr('size') }} {{ '10.0.0.0/24' | ipaddr('size_usable') }} {{ '10.0.0.0/24' | ipaddr('first_usable') }} {{ '10.0.0.0/24' | ipaddr('last_usable') }} {{ '10.0.0.0/24' | ipaddr('range_usable') }}",
            r#""256 254 10.0.0.1 10.0.0.254 10.0.0.1-10.0.0.254""#,
        ),
        (
            "{{ '10.0.0.7/24' | ipaddr('next_usable') }} {{ '10.0.0.1/24' | ipaddr('previous_usable') }} {{ '10.0.0.1/30' | ipaddr('peer') }} {{ '10.0.0.0/31' | ipaddr('peer') }}",
            r#""10.0.0.8  10.0.0.2 10.0.0.1""#,
        ),
        (
            "{{ '192.0.2.1' | ipaddr('revdns') }} {{ '2001:db8::1' | ipaddr('revdns') }}",
            r#""1.2.0.192.in-addr.arpa. 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.""#,
        ),
        (
            "{{ '10.0.0.0/24' | ipaddr(5) }} {{ '10.0.0.0/24' | ipaddr('-1') }} {{ '10.0.0.0/24' | ipaddr(5) | ipaddr('address') }} {{ '10.0.0.0/30' | ipaddr(9) }}",
            r#""10.0.0.5/24 10.0.0.255/24 10.0.0.5 False""#,
        ),
        (
            "{{ '10.1.2.3' | ipaddr('10.0.0.0/8') }} {{ '11.1.2.3' | ipaddr('10.0.0.0/8') }} {{ ['10.1.1.1', '9.9.9.9'] | ipaddr('10.0.0.0/8') }}",
            r#""10.1.2.3  ['10.1.1.1']""#,
        ),
        (
            "{{ 'x' | ipaddr }} {{ '10.0.0.1' | ipaddr('bool') }} {{ '10.0.0.1/255.255.0.0' | ipaddr('prefix') }} {{ 167772161 | ipaddr }} {{ '10.0.0.1' | ipaddr('int') }}",
            r#""False True 16 10.0.0.1 167772161""#,
        ),
        (
            "{{ ['10.0.0.1', '8.8.8.8'] | ipaddr('private') }} {{ ['10.0.0.1', '8.8.8.8'] | ipaddr('public') }} {{ '::1' | ipaddr('wrap') }} {{ '127.0.0.1' | ipaddr('loopback') }}",
            r#""['10.0.0.1'] ['8.8.8.8'] [::1] 127.0.0.1""#,
        ),
        (
            "{{ '10.0.0.7/24' | ipaddr('ip/prefix') }} {{ '10.0.0.7/24' | ipaddr('ip_netmask') }} {{ '10.0.0.7/24' | ipaddr('network_netmask') }} {{ '10.0.0.7/24' | ipaddr('wildcard') }} {{ '10.0.0.7/24' | ipaddr('type') }} {{ '10.0.0.7' | ipaddr('version') }}",
            r#""10.0.0.7/24 10.0.0.7 255.255.255.0 10.0.0.0 255.255.255.0 0.0.0.255 address 4""#,
        ),
        (
            "{{ '10.0.0.7/24' | ipaddr('netmsk') }}",
            "template-error: `ipaddr` has no query `netmsk`; did you mean `netmask`?",
        ),
        (
            "{{ '192.168.144.5' | ipsubnet }} {{ '192.168.0.0/16' | ipsubnet(20) }} {{ '192.168.0.0/16' | ipsubnet(20, 0) }} {{ '192.168.0.0/16' | ipsubnet(20, -1) }}",
            r#""192.168.144.5/32 16 192.168.0.0/20 192.168.240.0/20""#,
        ),
        (
            "{{ '192.168.144.5' | ipsubnet(20) }} {{ '192.168.144.5' | ipsubnet(18, 0) }} {{ '192.168.144.5' | ipsubnet(18, -1) }} {{ '192.168.144.5' | ipsubnet(18, 5) }} {{ '192.168.144.5' | ipsubnet(18, -5) }}",
            r#""192.168.144.0/20 192.168.128.0/18 192.168.144.4/31 192.168.144.0/23 192.168.144.0/27""#,
        ),
        (
            "{{ '192.168.144.16/30' | ipsubnet('192.168.144.0/24') }} {{ '192.168.144.5' | ipsubnet('192.168.0.0/16') }}",
            r#""5 36870""#,
        ),
        (
            "{{ '10.0.0.0/8' | nthhost(305) }} {{ '192.168.1.5' | ipmath(5) }} {{ '192.168.0.5' | ipmath(-10) }} {{ '2001::1' | ipmath(10) }}",
            r#""10.0.1.49 192.168.1.10 192.167.255.251 2001::b""#,
        ),
        (
            "{{ '192.168.0.0/24' | network_in_network('192.168.0.1') }} {{ '192.168.0.0/24' | network_in_network('10.0.0.1') }} {{ '192.168.0.0/24' | network_in_usable('192.168.0.255') }} {{ '192.168.0.0/24' | network_in_usable('192.168.0.1') }}",
            r#""True False False True""#,
        ),
        (
            "{{ ['192.168.0.34', '10.3.0.3', '192.168.2.34'] | reduce_on_network('192.168.0.0/24') }}",
            r#"["192.168.0.34"]"#,
        ),
        (
            "{{ ['192.168.0.0/17', '192.168.128.0/17', '192.168.128.1'] | cidr_merge }} {{ ['192.168.0.0/17', '192.168.128.1'] | cidr_merge('span') }}",
            r#""['192.168.0.0/16'] 192.168.0.0/16""#,
        ),
        (
            "{{ '1a:2b:3c:4d:5e:6f' | hwaddr('cisco') }} {{ '1A2B3C4D5E6F' | macaddr('linux') }} {{ '1a2b.3c4d.5e6f' | hwaddr('win') }} {{ 'x' | hwaddr('bool') }} {{ '1a:2b:3c:4d:5e:6f' | hwaddr('bare') }}",
            r#""1a2b.3c4d.5e6f 1a:2b:3c:4d:5e:6f 1A-2B-3C-4D-5E-6F  1A2B3C4D5E6F""#,
        ),
        (
            "{{ '192.168.1.5' | ip4_hex }} {{ '10.0.0.1/24' | next_nth_usable(2) }} {{ '10.0.0.9/24' | previous_nth_usable(3) }} {{ ['::1', 'x'] | ipwrap }}",
            r#""c0a80105 10.0.0.3 10.0.0.6 ['[::1]', 'x']""#,
        ),
        (
            "{{ '10.0.0.0/24' | ansible.utils.ipaddr('prefix') }} {{ 'x' | ansible.builtin.upper }}",
            r#""24 X""#,
        ),
        (
            "{{ '::/0' | ipaddr('size') }} {{ '::/0' | ipaddr('last_usable') }}",
            r#""340282366920938463463374607431768211456 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe""#,
        ),
        (
            "{{ '0.0.0.0/0' | ipaddr('size') }} {{ '0.0.0.0/0' | cidr_merge }}",
            "template-error: `cidr_merge`: `.` is no network",
        ),
    ]);
}

#[test]
fn tests_of_values() {
    let world = || {
        let result = |pairs: &[(&str, Value)]| {
            Value::Map(
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), value.clone()))
                    .collect(),
            )
        };
        sample()
            .known(
                "done",
                result(&[("changed", Value::Bool(true)), ("failed", Value::Bool(false))]),
            )
            .known(
                "passed",
                result(&[("skipped", Value::Bool(true)), ("changed", Value::Bool(false))]),
            )
            .known(
                "fell",
                result(&[("failed", Value::Bool(true)), ("unreachable", Value::Bool(true))]),
            )
    };
    let holds = [
        "name is defined",
        "nope is undefined",
        "nothing is none",
        "'x' is truthy",
        "'' is falsy",
        "'no' is falsy(convert_bool=True)",
        "true is true",
        "false is false",
        "true is boolean",
        "'a' is string",
        "1 is number",
        "1 is integer",
        "1.5 is float",
        "host is mapping",
        "list is iterable",
        "'a' is iterable",
        "list is sequence",
        "none is sameas none",
        "2 is even",
        "3 is odd",
        "9 is divisibleby 3",
        "'a' is in list",
        "list is contains('a')",
        "1 is eq 1",
        "1 is equalto 1",
        "1 is ne 2",
        "1 is lt 2",
        "1 is lessthan 2",
        "1 is le 1",
        "2 is gt 1",
        "2 is greaterthan 1",
        "1 is ge 1",
        "'a' is lower",
        "'A' is upper",
        "'foobar' is match('foo')",
        "'foobar' is not match('bar')",
        "'foobar' is search('bar')",
        "'foo' is regex('^F', ignorecase=True)",
        "'foo' is regex('o+', match_type='search')",
        "[0, 1] is any",
        "[1, true] is all",
        "[0, 1] is not all",
        "[1] is subset([1, 2])",
        "[1, 2] is superset([1])",
        "'1.10' is version('1.9', '>=')",
        "fell is failed",
        "done is succeeded",
        "done is success",
        "done is changed",
        "done is change",
        "passed is not changed",
        "passed is skipped",
        "passed is skip",
        "fell is unreachable",
        "done is reachable",
        "done is finished",
        "done is started",
        "'/etc' is exists",
        "'/etc/passwd' is file",
        "'/etc' is directory",
        "'/proc/self' is link",
        "'/proc/self' is link_exists",
        "'/etc' is abs",
        "'etc' is not abs",
        "'/etc' is same_file('/etc/.')",
        "'/proc' is mount",
        "'/etc' is not mount",
        "'/etc' is not socket",
        "'https://x/y' is url",
        "'x' is not url",
        "'ftp://x' is not url(schemes=['http'])",
        "'mailto:a@b' is uri",
        "'urn:isbn:1' is urn",
        "'$ANSIBLE_VAULT;1.1;AES256' is vault_encrypted",
        "('nan' | float) is nan",
        "range is callable",
        "done is not timedout",
        "1 is ansible.builtin.integer",
        "[1] | select('==', 1)",
        "[1] | select('!=', 2)",
        "[1] | select('<=', 1)",
        "[1] | select('>=', 1)",
        "[1] | select('<', 2)",
        "[1] | select('>', 0)",
        "[1] is issubset([1])",
        "[1] is issuperset([1])",
        "fell is failure",
        "done is successful",
    ];
    for text in holds {
        let world = world();
        let node = world.node(text);
        let (engine, _, scope) = world.scope();
        let got = engine.condition(&node, &scope);
        assert!(matches!(got, Ok(Truth::True)), "{text}: {got:?}");
    }
    assert!(render(world(), "{{ name is changed }}").is_err());
}

#[test]
fn lookups_read_the_control_node() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.txt", " one \n\n");
    write("b.txt", "two\n");
    write("t.j2", "port {{ port }}{{ x | default('') }}\n");
    write("hosts.csv", "n1,10.0.0.1\n\"n,2\",10.0.0.2\n");
    write("app.ini", "[one]\nkey = v1\n[two]\nkey=v2\n");
    let rows = [
        (
            "{{ lookup('file', 'a.txt') }}|{{ lookup('file', 'a.txt', lstrip=True) }}",
            r#"" one|one""#,
        ),
        ("{{ lookup('file', 'a.txt', 'b.txt') }}", r#"" one,two""#),
        (
            "{{ query('file', 'b.txt') }} {{ q('file', 'b.txt') }} {{ lookup('file', 'b.txt', wantlist=True) }}",
            r#""['two'] ['two'] ['two']""#,
        ),
        ("{{ lookup('file', 'nope', errors='ignore') is none }}", "true"),
        ("{{ lookup('template', 't.j2') }}", r#""port 6443\n""#),
        (
            "{{ lookup('template', 't.j2', template_vars={'x': '!'}) }}",
            r#""port 6443!\n""#,
        ),
        (
            "{{ lookup('env', 'NOPE_X') }}{{ lookup('env', 'NOPE_X', default='d') }}",
            r#""d""#,
        ),
        (
            "{{ lookup('vars', 'na' ~ 'me') }} {{ lookup('vars', 'nope', default='d') }}",
            r#""api d""#,
        ),
        (
            "{{ query('items', [1, 2], 3) }} {{ query('list', [1, 2]) }}",
            r#""[1, 2, 3] [[1, 2]]""#,
        ),
        ("{{ query('indexed_items', ['a', 'b']) }}", r#"[[0, "a"], [1, "b"]]"#),
        ("{{ query('dict', {'a': 1}) }}", r#"[{"key": "a", "value": 1}]"#),
        (
            "{{ query('nested', [1, 2], ['a']) }} {{ query('together', [1, 2], ['a']) }}",
            r#""[[1, 'a'], [2, 'a']] [[1, 'a'], [2, None]]""#,
        ),
        (
            "{{ query('subelements', users, 'groups') | length }} {{ query('subelements', users, 'nope', {'skip_missing': True}) }}",
            r#""6 []""#,
        ),
        (
            "{{ query('sequence', 'start=1 end=3') }} {{ query('sequence', '4-8/2:h%02d') }} {{ query('sequence', count=2, format='n%d') }}",
            r#""['1', '2', '3'] ['h04', 'h06', 'h08'] ['n1', 'n2']""#,
        ),
        (
            "{{ lookup('pipe', 'echo a; echo b') }} {{ query('lines', 'echo a; echo b') }}",
            r#""a\nb ['a', 'b']""#,
        ),
        (
            "{{ lookup('pipe', 'echo no >&2; exit 3') }}",
            "template-error: the command `echo no >&2; exit 3` failed (exit status: 3): no",
        ),
        (
            "{{ lookup('community.general.passwordstore', 'db') }}",
            "template-error: the lookup `community.general.passwordstore` is not supported: use `lookup('secret', command='pass show …')`",
        ),
        (
            "{{ query('fileglob', '*.txt') | map('basename') | list }} {{ query('fileglob', '*.nope') }}",
            r#""['a.txt', 'b.txt'] []""#,
        ),
        (
            "{{ lookup('first_found', ['x.txt', 'b.txt']) | basename }} {{ lookup('first_found', files=['a.txt']) | basename }}",
            r#""b.txt a.txt""#,
        ),
        ("{{ query('first_found', {'files': ['x'], 'skip': true}) }}", "[]"),
        (
            "{{ lookup('csvfile', 'n1', file='hosts.csv', delimiter=',') }} {{ lookup('csvfile', 'n,2', file='hosts.csv', delimiter=',', col=1) }}",
            r#""10.0.0.1 10.0.0.2""#,
        ),
        ("{{ lookup('ini', 'key', section='two', file='app.ini') }}", r#""v2""#),
        (
            "{{ lookup('password', 'x') }}",
            "template-error: the lookup `password` is not supported: make the password once and keep it in a vaulted variable",
        ),
        (
            "{{ lookup('fil', 'x') }}",
            "template-error: there is no lookup `fil`; did you mean `file`?",
        ),
        ("{{ lookup('ansible.builtin.env', 'NOPE_X') }}", r#""""#),
    ];
    for (text, want) in rows {
        let got = match render(sample().searching(folder.path()), text) {
            Ok(value) => super::filters::json::compact(&value),
            Err(RenderError::Failed(failure)) => format!("{}: {}", failure.code, failure.message),
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(got, want, "{text}");
    }
    let missing = render(sample().searching(folder.path()), "{{ lookup('file', 'nope') }}");
    assert!(
        matches!(missing, Err(RenderError::Failed(failure)) if failure.message.starts_with("`nope` is not found; looked for "))
    );
    let later = render(
        sample().unknown("x").searching(folder.path()),
        "{{ lookup('template', 't.j2') }}",
    );
    assert_eq!(later.unwrap().unknown(), Some("waits for x"));
}

#[test]
fn functions() {
    check(&[
        (
            "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
            r#""abab""#,
        ),
        (
            "{% set j = joiner('; ') %}{% for x in list %}{{ j() }}{{ x }}{% endfor %}",
            r#""b; a; c""#,
        ),
        ("{{ zip([1], [2]) | list }}", "[[1, 2]]"),
        ("{{ [1, omit, 2] }}", "[1, 2]"),
        ("x{{ omit }}", r#""x""#),
        ("{{ vars.name }} {{ vars['port'] }}", r#""api 6443""#),
    ]);
}

fn fixture(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split('\t').collect())
}

/// What `ansible.utils.ipaddr` answers, for many addresses and all queries.
#[test]
fn addresses_as_netaddr_sees_them() {
    let mut wrong = Vec::new();
    for row in fixture(include_str!("testdata/ipaddr.tsv")) {
        let [address, query, want] = row.as_slice() else {
            panic!("{row:?}")
        };
        let world = World::new().known("a", *address).known("q", *query);
        let got = match render(world, "{{ a | ipaddr(q) }}") {
            Ok(value) => super::filters::json::compact(&value),
            Err(_) => "ERR".to_owned(),
        };
        let digits = got.trim_matches('"').bytes().all(|byte| byte.is_ascii_digit());
        if got != *want && !(digits && got.len() > 20 && got.trim_matches('"') == *want) {
            wrong.push(format!("{address} {query}: want {want}, got {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

/// Template files as Ansible renders them.
#[test]
fn templates_as_ansible_renders_them() {
    let mut wrong = Vec::new();
    for row in fixture(include_str!("testdata/templates.tsv")) {
        let [text, want] = row.as_slice() else {
            panic!("{row:?}")
        };
        let text: String = serde_json::from_str(text).unwrap();
        let got = match super::corpus::render_template(sample(), Path::new("/nope/a.j2"), &text) {
            Ok(Rendered::Text(text)) => text,
            other => format!("{other:?}"),
        };
        if serde_json::from_str(want).ok() != Some(got.clone()) {
            wrong.push(format!("{text:?}\n want {want}\n got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

/// What libyaml writes under Ansible's settings.
#[test]
fn yaml_as_ansible_writes_it() {
    let mut wrong = Vec::new();
    for row in fixture(include_str!("testdata/yaml.tsv")) {
        let [value, filter, want] = row.as_slice() else {
            panic!("{row:?}")
        };
        let value = render(World::new().known("t", *value), "{{ t | from_json }}").unwrap();
        let want: String = serde_json::from_str(want).unwrap();
        let got = render(
            World::new().known("v", value.clone()),
            &format!("{{{{ v | {filter} }}}}"),
        )
        .unwrap();
        if got != Value::from(want.as_str()) {
            wrong.push(format!("{filter} {value:?}\n want {want:?}\n got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

/// The words in back quotes of the lists in a section of the document.
fn listed(document: &str, section: &str) -> BTreeSet<String> {
    let start = document
        .find(&format!("## {section}\n"))
        .unwrap_or_else(|| panic!("no section {section}"));
    let body = &document[start + 3..];
    let body = &body[..body.find("\n## ").unwrap_or(body.len())];
    body.lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| {
            line.split('|')
                .nth(1)
                .unwrap()
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn the_document_lists_exactly_what_there_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/language-filters.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (engine, ..) = World::new().scope();
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(listed(&document, "Filters"), set(&engine.inner.filters));
    assert_eq!(listed(&document, "Tests"), set(&engine.inner.tests));
    assert_eq!(
        listed(&document, "Functions"),
        engine
            .inner
            .globals
            .iter()
            .filter(|name| !name.contains('.'))
            .cloned()
            .collect()
    );
    assert_eq!(
        listed(&document, "Lookups"),
        lookups::names().map(str::to_owned).collect()
    );
}

/// Every filter, test and lookup is used in one of the tables of this file.
#[test]
fn every_name_is_tested() {
    let corpus = concat!(include_str!("corpus_filters.rs"), include_str!("corpus.rs"));
    let (engine, ..) = World::new().scope();
    let filters = engine
        .inner
        .filters
        .iter()
        .filter(|name| !corpus.contains(&format!("| {name}")) && !corpus.contains(&format!("map('{name}'")));
    assert_eq!(filters.collect::<Vec<_>>(), Vec::<&String>::new());
    let tests = engine.inner.tests.iter().filter(|name| {
        !corpus.contains(&format!("is {name}"))
            && !corpus.contains(&format!("is not {name}"))
            && !corpus.contains(&format!("'{name}', "))
    });
    assert_eq!(tests.collect::<Vec<_>>(), Vec::<&String>::new());
    let lookups = lookups::names().filter(|name| !corpus.contains(&format!("('{name}', ")));
    assert_eq!(lookups.collect::<Vec<_>>(), Vec::<&str>::new());
}
