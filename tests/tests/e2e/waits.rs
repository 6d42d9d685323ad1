//! Round trips: through the agent they do not grow with the number of steps.

use okd_tests::{Flavour, Lab, Play};

/// A play of so many steps of four kinds.
fn play(lab: &Lab, steps: usize) -> Play<'_> {
    let mut tasks = String::new();
    for n in 0..steps {
        let path = format!("/srv/f{n}");
        tasks.push_str(&match n % 4 {
            0 => format!("    - file: {{path: {path}, state: directory, mode: \"0755\"}}\n"),
            1 => format!("    - copy: {{dest: {path}, content: \"{n}\", mode: \"0644\"}}\n"),
            2 => format!("    - template: {{src: t.j2, dest: {path}, mode: \"0644\"}}\n"),
            _ => format!("    - lineinfile: {{path: {path}, line: \"line {n}\", create: true, mode: \"0644\"}}\n"),
        });
    }
    let play = Play::new(lab, &format!("- hosts: all\n  tasks:\n{tasks}"));
    play.put("t.j2", "{{ ansible_facts.hostname }}\n");
    play
}

#[test]
fn a_converged_run_of_500_steps_waits_as_often_as_one_of_5() {
    let lab = Lab::up();
    lab.host_with("host", "10.77.1.21", Flavour::Debian, &["--delay", "25"]);
    let waits = [5, 500].map(|steps| {
        let play = play(&lab, steps);
        play.apply(&["--transport", "agent"]);
        let run = play.converged(&["--transport", "agent"]);
        let link = run
            .events
            .iter()
            .find(|event| event["event"] == "link" && event["host"] == "host");
        let waits = link.unwrap_or_else(|| panic!("no figures of the link\n{run}"))["waits"]
            .as_u64()
            .unwrap();
        assert!(waits > 0, "nothing was waited for at all");
        waits
    });
    // Whether the facts are waited for by themselves hangs on who is quicker.
    assert!(
        waits.iter().all(|waits| *waits <= 3),
        "waits for 5 and for 500 steps: {waits:?}"
    );
}
