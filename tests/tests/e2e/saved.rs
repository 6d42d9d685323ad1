//! Plans that are kept: applied as they were made, step by step, or refused, step by step.

use okd_tests::{Flavour, Lab, Play, Run};

/// Applies a kept plan.
fn apply(play: &Play<'_>, words: &[&str]) -> Run {
    play.okd(&[&["apply", "site.plan", "--output", "json"], words].concat())
}

const TASKS: &str = r#"
    - name: Edited
      copy: {dest: /srv/edited, content: "one\ntwo\nthree\n", mode: "0644"}
      notify: Told
    - name: Edited again
      lineinfile: {path: /srv/edited, line: four}
    - name: Other
      copy: {dest: /srv/other, content: "new\n", mode: "0644"}
      register: other
      notify: Also told
    - name: Same
      copy: {dest: /srv/same, content: "as it is\n", mode: "0644"}
    - name: Reads
      copy: {dest: /srv/reads, content: "{{ other.dest }}\n", mode: "0644"}
  handlers:
    - name: Told
      command: touch /srv/told
      args: {creates: /srv/told, predicts: {creates: [/srv/told]}}
    - name: Also told
      command: touch /srv/also-told
      args: {creates: /srv/also-told, predicts: {creates: [/srv/also-told]}}
"#;

#[test]
fn a_plan_is_applied_and_what_moved_is_refused_alone() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("printf 'ein\\nzwei\\n' > /srv/edited; echo old > /srv/other; echo as it is > /srv/same");
    let play = Play::tasks(&lab, TASKS);
    let plan = play.plan("site.plan", &[]).ended(0);
    assert_eq!(plan.status("plan", "host", "Edited"), "changed", "{plan}");
    assert_eq!(host.read("/srv/other"), "old\n");
    host.sh("printf 'ein\\nzwo\\n' > /srv/edited; chmod 600 /srv/same");
    let run = apply(&play, &["--yes"]).ended(4);
    for (task, status) in [
        ("Edited", "refused"),
        ("Edited again", "refused"),
        ("Other", "changed"),
        ("Same", "refused"),
        ("Reads", "changed"),
        ("Told", "blocked"),
        ("Also told", "changed"),
    ] {
        assert_eq!(run.status("apply", "host", task), status, "{task}: {run}");
    }
    run.says("/srv/edited has moved since the plan: byte 7 (line 2, column 3) was \"e\", is \"o\"");
    run.says("`mode` of /srv/same was 0644, is 0600");
    assert_eq!(host.read("/srv/edited"), "ein\nzwo\n");
    assert_eq!(host.read("/srv/other"), "new\n");
    assert_eq!(host.read("/srv/reads"), "/srv/other\n");
    assert!(host.has("/srv/also-told") && !host.has("/srv/told"));
}
