//! What hosts answer, without what is secret: a command may print what no step on that host was ever told.

use super::Keeper;
use crate::report::StepResult;
use crate::run::record::Input;
use crate::template::SecretStore;
use okd_agent::Value;
use okd_agent::diff::Change;
use okd_agent::seen::Seen;
use okd_agent::value::Map;
use okd_agent::wire::Reply;

impl Keeper {
    /// Puts placeholders in the place of every secret in an answer.
    pub fn hide(&self, reply: &mut Reply) {
        if !self.any() {
            return;
        }
        match reply {
            Reply::Outcome(outcome) => {
                outcome.diff.iter_mut().for_each(|change| self.change(change));
                self.map(&mut outcome.result);
                outcome.notes.iter_mut().for_each(|note| self.text(note));
                outcome.seen.iter_mut().for_each(|seen| self.seen(seen));
            }
            Reply::Failed(failure) => {
                let texts = failure.argv.iter_mut().chain(&mut failure.journal);
                texts
                    .chain([&mut failure.message, &mut failure.kept])
                    .for_each(|text| self.text(text));
                if let Some(answer) = &mut failure.answer {
                    answer.stdout = self.mask(&answer.stdout);
                    answer.stderr = self.mask(&answer.stderr);
                }
                failure.diff.iter_mut().for_each(|change| self.change(change));
                self.map(&mut failure.result);
                failure.seen.iter_mut().for_each(|seen| self.seen(seen));
            }
            Reply::Held => {}
        }
    }

    /// Puts placeholders in the place of every secret in what is kept of a step.
    pub fn hide_step(&self, step: &mut StepResult) {
        let texts = [&mut step.task, &mut step.play, &mut step.msg].into_iter();
        let more = step.item.iter_mut().chain(&mut step.notes).chain(&mut step.notifies);
        texts.chain(more).for_each(|text| self.text(text));
        step.handler.iter_mut().flatten().for_each(|by| self.text(by));
        step.diff.iter_mut().for_each(|change| self.change(change));
        self.value(&mut step.result);
        if let Some(failure) = step.failure.take() {
            let mut reply = Reply::Failed(failure);
            self.hide(&mut reply);
            if let Reply::Failed(failure) = reply {
                step.failure = Some(failure);
            }
        }
    }

    /// Puts placeholders in the place of every secret in what a step is made of.
    pub fn hide_input(&self, input: &mut Input) {
        self.map(&mut input.args);
        input.env.iter_mut().for_each(|(_, value)| self.text(value));
        if let Some(content) = &mut input.content {
            *content = self.mask(content);
        }
    }

    fn text(&self, text: &mut String) {
        if let Ok(masked) = String::from_utf8(self.mask(text.as_bytes())) {
            *text = masked;
        }
    }

    fn map(&self, map: &mut Map) {
        map.values_mut().for_each(|value| self.value(value));
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::Str(text) | Value::Unknown(text) => self.text(text),
            Value::List(list) => list.iter_mut().for_each(|item| self.value(item)),
            Value::Map(map) => self.map(map),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
    }

    fn seen(&self, seen: &mut Seen) {
        match seen {
            Seen::Text(text) => self.text(text),
            Seen::Bytes(bytes) => *bytes = self.mask(bytes),
            Seen::List(items) => items.iter_mut().for_each(|item| self.seen(item)),
            Seen::Parts(parts) => parts.iter_mut().for_each(|(_, part)| self.seen(part)),
            Seen::Nothing | Seen::Flag(_) | Seen::Number(_) | Seen::Digest(_) => {}
        }
    }

    fn change(&self, change: &mut Change) {
        match change {
            Change::Field { before, after, .. } => [before, after].into_iter().for_each(|text| self.text(text)),
            Change::Item { text, .. } | Change::Act(text) => self.text(text),
            Change::Text(file) => {
                let lines = file.hunks.iter_mut().flat_map(|hunk| &mut hunk.lines);
                lines.for_each(|(_, line)| self.text(line));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use okd_agent::resource::Failure;
    use okd_agent::secret::Secret;
    use okd_agent::system::Answer;
    use okd_agent::value::map;

    #[test]
    fn a_line_of_a_secret_is_one() {
        let keeper = Keeper::random().unwrap();
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END KEY-----\n";
        let whole = keeper.keep("tls", Secret::new(key));
        let mut reply = Reply::Failed(Box::new(Failure {
            message: key.to_owned(),
            journal: vec!["read MIIEvQIBADANBgkqhkiG9w0".to_owned()],
            ..Failure::default()
        }));
        keeper.hide(&mut reply);
        let Reply::Failed(failure) = &reply else { unreachable!() };
        assert_eq!(failure.message, whole);
        assert!(failure.journal[0].starts_with("read ‹secret:tls:") && failure.journal[0].ends_with('›'));
        assert_eq!(
            keeper.reveal(&failure.journal[0]).unwrap(),
            "read MIIEvQIBADANBgkqhkiG9w0"
        );
    }

    #[test]
    fn no_part_of_an_answer_keeps_a_secret() {
        const POISON: &str = "p0is0n-of-the-reply";
        let keeper = Keeper::random().unwrap();
        keeper.keep("pw", Secret::new(POISON));
        let failure = Failure {
            message: format!("{POISON}!"),
            argv: vec![POISON.to_owned()],
            answer: Some(Answer::ok(POISON)),
            journal: vec![POISON.to_owned()],
            kept: POISON.to_owned(),
            diff: vec![
                Change::Act(POISON.to_owned()),
                okd_agent::diff::text("/x", Some(POISON.as_bytes()), Some(b"new"), "").unwrap(),
            ],
            result: map([("stdout_lines", vec![POISON.to_owned()].into())]),
            ..Failure::default()
        };
        let mut reply = Reply::Failed(Box::new(failure));
        keeper.hide(&mut reply);
        let Reply::Failed(failure) = &reply else { unreachable!() };
        let said = format!("{reply:?}{}", failure.answer.as_ref().unwrap().text());
        assert!(
            !said.contains(POISON) && said.matches("‹secret:pw:").count() >= 7,
            "{said}"
        );
    }
}
