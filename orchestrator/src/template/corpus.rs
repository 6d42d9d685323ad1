//! The corpus: templates and what they give, in tables; one table per concern.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::source::Span;
use crate::source::yaml::Style;
use okd_agent::value::map;

/// Variables for tests.
#[derive(Default)]
pub(super) struct Vars {
    found: HashMap<String, Found>,
    search: Search,
}

impl Scope for Vars {
    fn lookup(&self, name: &str) -> Found {
        self.found.get(name).cloned().unwrap_or(Found::Missing)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.found.keys().cloned().collect();
        names.sort();
        names
    }

    fn search(&self) -> Search {
        self.search.clone()
    }
}

/// An engine with variables.
pub(super) struct World {
    sources: SourceMap,
    engine: Engine,
    vars: Vars,
}

impl World {
    pub(super) fn new() -> World {
        World::with(Options::default())
    }

    pub(super) fn with(options: Options) -> World {
        let sources = SourceMap::default();
        World {
            engine: Engine::new(sources.clone(), options),
            sources,
            vars: Vars::default(),
        }
    }

    pub(super) fn known(mut self, name: &str, value: impl Into<Value>) -> World {
        self.vars.found.insert(name.to_owned(), Found::Known(value.into()));
        self
    }

    pub(super) fn raw(mut self, name: &str, text: &str) -> World {
        let node = self.node(text);
        self.vars.found.insert(name.to_owned(), Found::Raw(Arc::new(node)));
        self
    }

    pub(super) fn unknown(self, name: &str) -> World {
        let reason = format!("waits for {name}");
        self.known(name, Value::Unknown(reason))
    }

    fn set(mut self, name: &str, found: Found) -> World {
        self.vars.found.insert(name.to_owned(), found);
        self
    }

    pub(super) fn searching(mut self, folder: &Path) -> World {
        self.vars.search.files = vec![folder.to_owned()];
        self.vars.search.templates = vec![folder.to_owned()];
        self
    }

    /// A plain scalar that is a whole file.
    pub(super) fn node(&self, text: &str) -> Node {
        let file = self.sources.add(Path::new("test.yml"), text.to_owned());
        Node {
            span: Span {
                file,
                start: 0,
                end: text.len() as u32,
            },
            defined: None,
            tag: None,
            kind: NodeKind::Str(text.to_owned(), Style::Plain),
        }
    }

    pub(super) fn scope(self) -> (Engine, SourceMap, Arc<dyn Scope>) {
        (self.engine, self.sources, Arc::new(self.vars))
    }
}

pub(super) fn render(world: World, text: &str) -> Result<Value, RenderError> {
    let node = world.node(text);
    let (engine, _, scope) = world.scope();
    engine.render(&node, &scope)
}

fn condition(world: World, text: &str) -> Result<Truth, RenderError> {
    let node = world.node(text);
    let (engine, _, scope) = world.scope();
    engine.condition(&node, &scope)
}

/// `code: message @ the text under the carets (label)`.
fn failure(world: World, text: &str) -> String {
    let node = world.node(text);
    let (engine, sources, scope) = world.scope();
    match engine.render(&node, &scope) {
        Err(RenderError::Failed(failure)) => describe(&failure, &sources),
        other => panic!("{text}: {other:?}"),
    }
}

fn failure_code(world: World, text: &str) -> String {
    match render(world, text) {
        Err(RenderError::Failed(failure)) => format!("{}: {}", failure.code, failure.message),
        other => format!("{other:?}"),
    }
}

fn describe(failure: &Diagnostic, sources: &SourceMap) -> String {
    let mut out = format!("{}: {}", failure.code, failure.message);
    for label in &failure.labels {
        let file = sources.file(label.span.file);
        let under = &file.text[label.span.start as usize..label.span.end as usize];
        out.push_str(&format!(" @ {under}"));
        if !label.text.is_empty() {
            out.push_str(&format!(" ({})", label.text));
        }
    }
    out
}

/// A world with a bit of everything.
pub(super) fn sample() -> World {
    let users = ["eve", "adam", "Bob"].iter().enumerate().map(|(index, name)| {
        Value::Map(map([
            ("name", Value::from(*name)),
            ("uid", Value::Int(1000 + index as i64)),
            ("groups", Value::from(vec![format!("g{index}"), "wheel".to_owned()])),
        ]))
    });
    World::new()
        .known("name", "api")
        .known("port", 6443)
        .known("ratio", Value::Float(2.5))
        .known("yes_flag", true)
        .known("nothing", Value::Null)
        .known("empty", "")
        .known("list", vec!["b", "a", "c"])
        .known("numbers", vec![3_i64, 1, 2])
        .known("users", Value::List(users.collect()))
        .known(
            "host",
            Value::Map(map([
                ("name", Value::from("bastion")),
                ("addresses", Value::from(vec!["10.0.0.1", "fd00::1"])),
                ("os", Value::Map(map([("family", Value::from("RedHat"))]))),
            ])),
        )
}

fn json(value: &Value) -> String {
    super::filters::json::compact(value)
}

/// Checks `template → JSON of the result` rows, given as `template ⇒ json`.
pub(super) fn check(rows: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (text, want) in rows {
        let got = match render(sample(), text) {
            Ok(value) => json(&value),
            Err(RenderError::Failed(failure)) => format!("{}: {}", failure.code, failure.message),
            Err(other) => format!("{other:?}"),
        };
        if got != *want {
            wrong.push(format!("{text}\n  want {want}\n  got  {got}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn types_and_text() {
    check(&[
        ("plain", r#""plain""#),
        ("{{ name }}", r#""api""#),
        ("{{ port }}", "6443"),
        ("{{ ratio }}", "2.5"),
        ("{{ yes_flag }}", "true"),
        ("{{ nothing }}", "null"),
        ("{{ list }}", r#"["b", "a", "c"]"#),
        ("{{- port -}}", "6443"),
        ("{{ port + 1 }}", "6444"),
        ("{{ '8' ~ port }}", r#""86443""#),
        ("{{ {'a': {'b': 1}} }}", r#"{"a": {"b": 1}}"#),
        ("{{ name }}.example.org", r#""api.example.org""#),
        ("{{ port }} ", r#""6443 ""#),
        ("on: {{ yes_flag }}, none: {{ nothing }}.", r#""on: True, none: .""#),
        (
            "l: {{ list }} d: {{ host.os }}",
            r#""l: ['b', 'a', 'c'] d: {'family': 'RedHat'}""#,
        ),
        (
            "f: {{ ratio }} {{ 1.0 }} {{ 1e30 }} {{ 0.00001 }}",
            r#""f: 2.5 1.0 1e+30 1e-05""#,
        ),
        (
            "q: {{ [\"it's\", 'a\"b', none, true] }}",
            r#""q: [\"it's\", 'a\"b', None, True]""#,
        ),
        (
            "t: {{ host | dictsort | first }}",
            r#""t: ['addresses', ['10.0.0.1', 'fd00::1']]""#,
        ),
        ("{% if yes_flag %}yes{% else %}no{% endif %}", r#""yes""#),
        ("{% for x in list %}{{ loop.index }}{{ x }}{% endfor %}", r#""1b2a3c""#),
        ("a{# comment #}b", r#""ab""#),
        ("{% raw %}{{ name }}{% endraw %}", r#""{{ name }}""#),
        ("{{ 'x' if port == 6443 else 'y' }}", r#""x""#),
        (
            "{{ host['name'] }} {{ host.addresses[1] }} {{ host.addresses.0 }}",
            r#""bastion fd00::1 10.0.0.1""#,
        ),
        ("{{ list[-1] }}{{ list[:2] }}", r#""c['b', 'a']""#),
        ("{{ 7 // 2 }} {{ 7 % 2 }} {{ 7 / 2 }} {{ 2 ** 3 }}", r#""3 1 3.5 8""#),
        ("{{ name.upper() }} {{ 'a,b'.split(',') }}", r#""API ['a', 'b']""#),
        (
            "{{ host.items() | list | length }} {{ host.get('nope', 'd') }}",
            r#""3 d""#,
        ),
        ("{{ host.get('nope') }}", "null"),
        ("{{ 'name' in host and 'nope' not in host }}", "true"),
        ("{% set x = 3 %}{{ x + 1 }}", "4"),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
            "6",
        ),
        (
            "{% macro m(a, b='z') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}",
            r#""1z12""#,
        ),
        (
            "{% if yes_flag %}{{ list }}{% else %}{{ name }}{% endif %}",
            r#"["b", "a", "c"]"#,
        ),
        ("{% if not yes_flag %}x{% endif %}", r#""""#),
        (
            "{{ 'a\\nb' }} {{ 'it\\'s' }} {{ 'c\\\\d' }}",
            r#""a\\nb it\\'s c\\\\d""#,
        ),
        ("{% set t = 'a\\tb' %}{{ t }}!", r#""a\tb!""#),
        ("{{ dict(a=1) }}", r#"{"a": 1}"#),
        ("{{ range(3) | list }}", "[0, 1, 2]"),
    ]);
}

#[test]
fn defaults_and_definedness() {
    check(&[
        ("{{ nope | default('x') }}", r#""x""#),
        ("{{ nope.a.b | default('x') }}", r#""x""#),
        ("{{ nope['a'][0].b | default('x') }}", r#""x""#),
        ("{{ host.nope.b | default('x') }}", r#""x""#),
        ("{{ host.os.family | default('x') }}", r#""RedHat""#),
        ("{{ empty | default('x') }}", r#""""#),
        ("{{ empty | default('x', true) }}", r#""x""#),
        ("{{ empty | d('x', boolean=True) }}", r#""x""#),
        ("{{ nope is defined }}", "false"),
        ("{{ nope.a.b is defined }}", "false"),
        ("{{ host.os.nope is not defined }}", "true"),
        ("{{ (host.nope.x) is undefined }}", "true"),
        ("{{ nope.a.b is defined and nope.a.b == 1 }}", "false"),
        ("{{ host.name | mandatory }}", r#""bastion""#),
        (
            "{{ nope.x | mandatory }}",
            "undefined-variable: variable `nope` is not defined",
        ),
        ("{{ nope | mandatory('say it') }}", "template-error: say it"),
        (
            "{% for u in users %}{{ u.nope.x | default('-') }}{% endfor %}",
            r#""---""#,
        ),
        (
            "{{ users | map(attribute='shell', default='/bin/sh') | first }}",
            r#""/bin/sh""#,
        ),
        ("{{ (nope | default({})).a | default(1) }}", "1"),
        ("{{ nope == 1 }}", "undefined-variable: variable `nope` is not defined"),
        ("{{ not nope }}", "undefined-variable: variable `nope` is not defined"),
        (
            "{% if nope %}{% endif %}",
            "undefined-variable: variable `nope` is not defined",
        ),
        (
            "{% for x in nope %}{% endfor %}",
            "undefined-variable: variable `nope` is not defined",
        ),
        (
            "{{ nope | upper }}",
            "undefined-variable: variable `nope` is not defined",
        ),
        (
            "{{ name ~ nope }}",
            "undefined-variable: variable `nope` is not defined",
        ),
    ]);
}

#[test]
fn failures_have_their_place() {
    let rows = [
        (
            "http://{{ nmae }}/",
            "undefined-variable: variable `nmae` is not defined @ nmae (did you mean `name`?)",
        ),
        (
            "{{ name + zzzzzz }}",
            "undefined-variable: variable `zzzzzz` is not defined @ zzzzzz",
        ),
        (
            "{{ host.naem }}",
            "undefined-attribute: `host.naem` is not defined @ .naem (did you mean `name`?)",
        ),
        (
            "x{{ host.os.qqqqqq.y }}",
            "undefined-attribute: `host.os.qqqqqq` is not defined @ .qqqqqq (`host.os` has no `qqqqqq`)",
        ),
        (
            "{{ a.b | default('') }} {{ nmae.x }}",
            "undefined-variable: variable `nmae` is not defined @ nmae (did you mean `name`?)",
        ),
        (
            "{{ host.nope.x | mandatory }}",
            "undefined-attribute: `host.nope` is not defined @ .nope (did you mean `name`?)",
        ),
        (
            "{% set _ = list.append(1) %}",
            "unknown-method: no such method here: sequence has no method named append @ .append(1)",
        ),
        (
            "{{ name | uper }}",
            "unknown-filter: there is no filter `uper` @ uper (did you mean `upper`?)",
        ),
        (
            "{{ name is sting }}",
            "unknown-test: there is no test `sting` @ sting (did you mean `string`?)",
        ),
        (
            "{{ list | map('uper') }}",
            "unknown-filter: there is no filter `uper` @ uper (did you mean `upper`?)",
        ),
        (
            "{{ rnge(3) }}",
            "unknown-function: there is no function `rnge` @ rnge (did you mean `range`?)",
        ),
        (
            "{{ name | default('a', bolean=1) }}",
            "template-error: `default` has no argument `bolean`; did you mean `boolean`? @ default('a', bolean=1)",
        ),
    ];
    for (text, want) in rows {
        assert_eq!(failure(sample(), text), want);
    }
    for text in ["{{ name", "{{ name + }}", "{% if x %}", "a {{ 'b }}"] {
        assert!(
            failure(sample(), text).starts_with("template-syntax: the template cannot be read: "),
            "{text}"
        );
    }
}

#[test]
fn variables_are_rendered_when_used() {
    let world = || {
        sample()
            .raw("domain", "{{ cluster }}.{{ base }}")
            .raw("cluster", "ocp")
            .raw("base", "example.org")
            .raw("broken", "{{ undefined_thing }}")
            .raw("loop_a", "{{ loop_b }}")
            .raw("loop_b", "x{{ loop_a }}")
            .raw("number", "{{ port }}")
            .raw("left_out", "{{ nope | default(omit) }}")
    };
    assert_eq!(
        render(world(), "api.{{ domain }}").unwrap(),
        Value::from("api.ocp.example.org")
    );
    assert_eq!(render(world(), "{{ number }}").unwrap(), Value::Int(6443));
    assert_eq!(
        render(world(), "{{ broken | default('d') }}").unwrap(),
        Value::from("d")
    );
    assert_eq!(
        failure(world(), "{{ broken }}!"),
        "undefined-variable: variable `undefined_thing` is not defined @ undefined_thing @ broken (used here)"
    );
    assert_eq!(
        failure(world(), "{{ loop_a }}"),
        "variable-cycle: variable `loop_a` is defined through itself: loop_a → loop_b → loop_a \
         @ {{ loop_b }} (`loop_a` is defined here) @ x{{ loop_a }} (`loop_b` is defined here) \
         @ loop_a (used here) @ loop_b (used here) @ loop_a (used here)"
    );
    let (engine, _, scope) = world().scope();
    let node = World::new().node("{{ left_out }}");
    assert_eq!(engine.render_or_omit(&node, &scope).unwrap(), None);
}

#[test]
fn unknown_taints_what_touches_it() {
    let world = || {
        let result = Value::Map(map([
            ("rc", Value::Int(0)),
            ("stdout", Value::Unknown("waits for a step".to_owned())),
        ]));
        sample()
            .unknown("later")
            .known("result", result)
            .set("running", Found::Pending(7))
            .raw("lazy", "{{ later }}")
    };
    let unknown = |text: &str| Value::Unknown(text.to_owned());
    assert_eq!(render(world(), "{{ later }}").unwrap(), unknown("waits for later"));
    assert_eq!(render(world(), "x {{ later }}").unwrap(), unknown("waits for later"));
    assert_eq!(render(world(), "{{ lazy }}").unwrap(), unknown("waits for later"));
    assert_eq!(render(world(), "{{ result.rc }}").unwrap(), Value::Int(0));
    assert_eq!(
        render(world(), "{{ result.stdout | default('') }}").unwrap(),
        unknown("waits for a step")
    );
    assert_eq!(
        render(world(), "{{ result.values() | list }}").unwrap(),
        unknown("waits for a step")
    );
    assert_eq!(render(world(), "r: {{ result }}").unwrap(), unknown("waits for a step"));
    assert_eq!(render(world(), "{{ result }}").unwrap().get("rc"), Some(&Value::Int(0)));
    assert_eq!(
        render(world(), "{{ [result, 1] }}").unwrap().unknown(),
        Some("waits for a step")
    );
    assert_eq!(
        render(world(), "{{ result.stdout.nope.x }}").unwrap(),
        unknown("waits for a step")
    );
    assert_eq!(render(world(), "{{ running }}").unwrap_err(), RenderError::Pending(7));
    assert_eq!(condition(world(), "result.rc == 0").unwrap(), Truth::True);
    assert_eq!(
        condition(world(), "later is defined").unwrap(),
        Truth::Unknown("waits for later".to_owned())
    );
    assert_eq!(condition(world(), "false and later").unwrap(), Truth::False);
    assert_eq!(condition(world(), "true or running").unwrap(), Truth::True);
    assert_eq!(
        condition(world(), "running.changed").unwrap_err(),
        RenderError::Pending(7)
    );
    assert_eq!(
        condition(world(), "later is changed").unwrap(),
        Truth::Unknown("waits for later".to_owned())
    );
}

#[test]
fn trees_keep_their_shape_and_leave_out_omit() {
    let world = sample().unknown("later");
    let text = |text: &str| world.node(text);
    let entries = vec![
        (text("{{ name }}_key"), text("{{ port }}")),
        (text("gone"), text("{{ omit }}")),
        (text("late"), text("{{ later }}")),
        (
            text("list"),
            Node {
                kind: NodeKind::Seq(vec![text("{{ nope | default(omit) }}"), text("x")]),
                ..text("")
            },
        ),
        (
            text("raw"),
            Node {
                tag: Some("!unsafe".to_owned()),
                ..text("{{ nope }}")
            },
        ),
    ];
    let node = Node {
        kind: NodeKind::Map(entries),
        ..text("")
    };
    let (engine, _, scope) = world.scope();
    assert_eq!(
        engine.render(&node, &scope).unwrap(),
        Value::Map(map([
            ("api_key", Value::Int(6443)),
            ("late", Value::Unknown("waits for later".to_owned())),
            ("list", Value::from(vec!["x"])),
            ("raw", Value::from("{{ nope }}")),
        ]))
    );
    assert_eq!(
        engine.mentions(&node).into_iter().collect::<Vec<_>>(),
        ["later", "name", "nope", "port"]
    );
}

#[test]
fn conditions() {
    let rows = [
        ("port == 6443", Truth::True),
        ("port > 7000 or name == 'api'", Truth::True),
        ("list | length > 5", Truth::False),
        ("empty", Truth::False),
        ("name", Truth::True),
        ("'false'", Truth::False),
        ("'yes'", Truth::True),
        ("{{ yes_flag }}", Truth::True),
        ("nope is not defined", Truth::True),
        ("host.os.family in ['RedHat', 'Debian']", Truth::True),
        ("not (nothing is none)", Truth::False),
    ];
    for (text, want) in rows {
        assert_eq!(condition(sample(), text).unwrap(), want, "{text}");
    }
    for (text, code) in [
        ("nope", "undefined-variable"),
        ("{{ a }} == 1", "template-in-condition"),
        ("a ==", "template-syntax"),
    ] {
        match condition(sample(), text) {
            Err(RenderError::Failed(failure)) => assert_eq!(failure.code, code, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let world = sample();
    let list = Node {
        kind: NodeKind::Seq(vec![world.node("port == 1"), world.node("nope")]),
        ..world.node("")
    };
    let (engine, _, scope) = world.scope();
    assert_eq!(engine.condition(&list, &scope).unwrap(), Truth::False);
    assert_eq!(
        engine.mentions_in_condition(&list).into_iter().collect::<Vec<_>>(),
        ["nope", "port"]
    );
}

#[test]
fn runaway_templates_end() {
    let text = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    assert!(failure(sample(), text).starts_with("template-limit: "));
}

#[test]
fn deep_variables_end_before_the_stack_does() {
    let mut world = sample();
    for level in 0..60 {
        world = world.raw(&format!("v{level}"), &format!("{{{{ v{} }}}}", level + 1));
    }
    let handle = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(|| failure(world, "{{ v0 }}"))
        .unwrap();
    assert!(handle.join().unwrap().starts_with("variable-depth: "));
}

#[test]
fn objects_look_names_up_when_used() {
    let (engine, _, other) = sample().raw("lazy", "{{ name }}!").unknown("later").scope();
    let hosts = engine.object(&other);
    let world = || sample().set("other", Found::Native(hosts.clone()));
    assert_eq!(render(world(), "{{ other.lazy }}").unwrap(), Value::from("api!"));
    assert_eq!(
        render(world(), "{{ other['later'] }}").unwrap().unknown(),
        Some("waits for later")
    );
    assert_eq!(render(world(), "{{ other.nope | default(1) }}").unwrap(), Value::Int(1));
    let (engine, _, broken) = sample().raw("wrong", "{{ undefined_thing }}").scope();
    let objects = sample().set("other", Found::Native(engine.object(&broken)));
    assert_eq!(
        failure_code(objects, "{{ other.wrong }}"),
        "undefined-variable: variable `undefined_thing` is not defined"
    );
    assert_eq!(render(world(), "{{ 'name' in other }}").unwrap(), Value::Bool(true));
}

pub(super) fn render_template(world: World, path: &Path, text: &str) -> Result<Rendered, String> {
    let (engine, sources, scope) = world.scope();
    let file = TemplateFile {
        path,
        text,
        search: &[],
        extra: map([("ansible_managed", Value::from("managed"))]),
    };
    engine.render_file(&file, &scope).map_err(|err| match err {
        RenderError::Failed(failure) => describe(&failure, &sources),
        RenderError::Pending(step) => format!("pending {step}"),
    })
}

#[test]
fn template_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.j2");
    std::fs::write(folder.path().join("part.j2"), "part {{ name }}\n").unwrap();
    std::fs::write(folder.path().join("bad.j2"), "one\n{{ nmae }}\n").unwrap();
    std::fs::write(
        folder.path().join("macros.j2"),
        "{% macro m(x) %}<{{ x }}>{% endmacro %}",
    )
    .unwrap();
    let rows = [
        ("# {{ ansible_managed }}\nport {{ port }}\n", "# managed\nport 6443\n"),
        ("{% if true %}\na\n{% endif %}\nb\n", "a\nb\n"),
        ("  {% if true %}\n  a\n  {% endif %}\n", "    a\n  \n"),
        (
            "#jinja2: lstrip_blocks: True\n  {% if true %}\n  a\n  {% endif %}\n",
            "  a\n",
        ),
        ("#jinja2: trim_blocks: False\n{% if true %}\na{% endif %}\n", "\na\n"),
        (
            "#jinja2: variable_start_string:'[%', variable_end_string:'%]'\n[% name %] {{ x }}\n",
            "api {{ x }}\n",
        ),
        ("no newline", "no newline"),
        ("a\n\n", "a\n\n"),
        ("x\n{% include 'part.j2' %}\ny", "x\npart apiy"),
        ("{% from 'macros.j2' import m %}\n{{ m(1) }}", "<1>"),
        ("{% import 'macros.j2' as lib %}\n{{ lib.m(name) }}", "<api>"),
        ("{% include 'nope.j2' ignore missing %}z", "z"),
    ];
    for (text, want) in rows {
        assert_eq!(
            render_template(sample(), &path, text),
            Ok(Rendered::Text(want.to_owned())),
            "{text}"
        );
    }
    assert_eq!(
        render_template(sample(), &path, "a\n{{ nmae }}\n").unwrap_err(),
        "undefined-variable: variable `nmae` is not defined @ nmae (did you mean `name`?)"
    );
    assert_eq!(
        render_template(sample(), &path, "{% include 'bad.j2' %}").unwrap_err(),
        "undefined-variable: variable `nmae` is not defined @ nmae (did you mean `name`?)"
    );
    assert!(
        render_template(sample(), &path, "{% include '../../etc/passwd' %}")
            .unwrap_err()
            .starts_with("template-not-found")
    );
    assert!(
        render_template(sample(), &path, "#jinja2: nope: 1\n")
            .unwrap_err()
            .starts_with("jinja2-header")
    );
    assert_eq!(
        render_template(sample().unknown("later"), &path, "{{ later }}"),
        Ok(Rendered::Unknown("waits for later".to_owned()))
    );
}

#[test]
fn mistakes_show_before_anything_is_rendered() {
    let rows = [
        (
            "{% if false %}{{ a | uper }}{% endif %}",
            "unknown-filter: there is no filter `uper` @ uper (did you mean `upper`?)",
        ),
        (
            "{{ a is not defind }}",
            "unknown-test: there is no test `defind` @ defind (did you mean `defined`?)",
        ),
        (
            "{{ a +",
            "template-syntax: the template cannot be read: unexpected end of input, expected expression @ +",
        ),
    ];
    for (text, want) in rows {
        let world = sample();
        let node = world.node(text);
        let (engine, sources, _) = world.scope();
        let found = engine.check(&node);
        assert_eq!(
            found.iter().map(|one| describe(one, &sources)).collect::<Vec<_>>(),
            [want]
        );
    }
    let world = sample();
    let good = world.node("{{ a | ansible.builtin.upper is ansible.builtin.match('x | y') }} {{ b.is | d('|zzz') }}");
    let condition = world.node("a is chnged");
    let (engine, ..) = world.scope();
    assert_eq!(engine.check(&good), []);
    assert_eq!(
        engine.check_condition(&condition)[0].message,
        "there is no test `chnged`"
    );
}
