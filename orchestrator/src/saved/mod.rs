//! A plan that is kept in a file and applied later, perhaps elsewhere. It holds all that it was made of, so that nothing
//! but itself is read when it is applied; and no secret, which are filled in again then.

pub mod archive;

use crate::cli::args::{LinkArgs, VaultArgs};
use crate::error::Diagnostic;
use crate::report::{StepResult, StepStatus, scrub};
use crate::run::record::{Counts, Input, Key, Outcome, Record, Records};
use crate::site::Tags;
use crate::source::files::{Content, Files, Sight, Sights, What};
use crate::vault::Keeper;
use archive::{ArchiveError, PieceId, Pieces};
use indexmap::IndexMap;
use okd_agent::Value;
use okd_agent::value::Map;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A plan with everything that applying it takes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// When and how it was made.
    pub made: Made,
    /// What the command line said.
    pub choices: Choices,
    /// What was read.
    pub files: Sights,
    /// What was found.
    pub outcome: Outcome,
    /// Who waits for whom, as a picture.
    pub drawing: String,
}

/// When and how a plan was made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Made {
    /// Seconds since 1970.
    pub at: u64,
    /// The version that made it.
    pub version: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What the command line said when a plan was made, as far as it is the plan's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Choices {
    /// The playbook, as it was typed.
    pub playbook: PathBuf,
    /// The working directory.
    pub base: PathBuf,
    /// The inventories: paths are absolute.
    pub inventory: Vec<String>,
    /// `--limit`.
    pub limit: Option<String>,
    /// `--tags` and `--skip-tags`.
    pub tags: Tags,
    /// `--start-at-task`.
    pub start_at: Option<String>,
    /// `-e`, in order.
    pub extra: Vec<Extra>,
    /// The answers to questions that were no secrets.
    pub answers: IndexMap<String, String>,
    /// Questions whose answers are secrets: they are asked again.
    pub private: Vec<String>,
    /// Where roles are looked for.
    pub roles: Vec<PathBuf>,
    /// Where vault passwords are.
    pub vault: VaultArgs,
    /// What placeholders follow from where there is no vault password.
    pub salt: Option<[u8; 32]>,
    /// How hosts are reached.
    pub link: LinkArgs,
}

/// A `-e`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extra {
    /// As it was typed.
    Text(String),
    /// A secret stands in it: it has to be given again. These are its variables.
    Withheld(Vec<String>),
}

#[derive(Serialize, Deserialize)]
struct Index {
    made: Made,
    choices: Choices,
    files: Vec<(PathBuf, KeptSight)>,
    steps: Vec<(Key, Vec<KeptRecord>)>,
    counts: IndexMap<String, Counts>,
    assumed: HashSet<String>,
    cleared: HashSet<String>,
    quiet: u32,
    drawing: PieceId,
}

#[derive(Serialize, Deserialize)]
struct KeptSight {
    kind: What,
    mode: u32,
    content: Option<Option<PieceId>>,
    names: Option<Vec<String>>,
    real: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct KeptRecord {
    status: StepStatus,
    sent: Option<u64>,
    fingerprint: Option<u64>,
    sure: bool,
    quiet: bool,
    print: Option<u64>,
    seen: Option<PieceId>,
    input: Option<KeptInput>,
    told: Option<(StepResult, PieceId)>,
}

#[derive(Serialize, Deserialize)]
struct KeptInput {
    module: String,
    args: Map,
    env: Vec<(String, String)>,
    content: Option<PieceId>,
}

impl Plan {
    /// Leaves out what must not be in a file: results, and secrets wherever they stand in plain. `plain` are the files that
    /// are known to hold some.
    ///
    /// # Errors
    /// `kept-plan` where there are more secrets than can be looked for.
    pub fn clean(&mut self, keeper: &Keeper, plain: &HashSet<PathBuf>) -> Result<(), Diagnostic> {
        let search = search()?;
        for (path, sight) in &mut self.files {
            let secret = match &sight.content {
                Some(Content::Bytes(bytes)) => {
                    plain.contains(path) || search.as_ref().is_some_and(|search| search.is_match(bytes))
                }
                _ => false,
            };
            if secret {
                sight.content = Some(Content::Withheld);
            }
        }
        for record in self.outcome.records.values_mut().flatten() {
            record.result = Value::Null;
            if let Some(input) = &mut record.input {
                keeper.hide_input(input);
                input.args.values_mut().for_each(hide);
            }
            if let Some(told) = &mut record.told {
                told.result = Value::Null;
                keeper.hide_step(told);
            }
        }
        Ok(())
    }

    /// Writes it; only its owner may read it.
    ///
    /// # Errors
    /// `kept-plan` where it cannot be written, or a secret would stand in it.
    pub fn write(&self, path: &Path) -> Result<(), Diagnostic> {
        let told = |error: ArchiveError| {
            let text = format!("the plan cannot be kept in {}: {error}", path.display());
            Diagnostic::new("kept-plan", text)
        };
        let (index, pieces) = self.packed().map_err(told)?;
        if let Some(search) = search()? {
            let bytes = postcard::to_stdvec(&index).map_err(|_| told(ArchiveError::Damaged))?;
            if search.is_match(&bytes) || pieces.all().any(|piece| search.is_match(piece)) {
                let text = "a secret would stand in plain in the plan; it is not written";
                return Err(Diagnostic::new("kept-plan", text)
                    .help("a name of a host, a file or a variable may hold it: such names are shown everywhere"));
            }
        }
        archive::write(path, &index, &pieces).map_err(told)
    }

    /// Reads one.
    ///
    /// # Errors
    /// `kept-plan` where it is none that this build wrote, or is damaged.
    pub fn read(path: &Path) -> Result<Plan, Diagnostic> {
        let told = |error: ArchiveError| {
            let found = Diagnostic::new("kept-plan", format!("{} cannot be used: {error}", path.display()));
            match error {
                ArchiveError::Io(_) | ArchiveError::Foreign => {
                    found.help("`okd-play plan PLAYBOOK -o FILE` makes a plan")
                }
                _ => found.help("make it anew: `okd-play plan PLAYBOOK -o FILE`"),
            }
        };
        let (index, pieces) = archive::read(path).map_err(told)?;
        Plan::unpacked(index, &pieces).map_err(told)
    }

    /// What was told of its steps, in the order in which they ended.
    #[must_use]
    pub fn steps(&self) -> Vec<StepResult> {
        crate::run::kept::told(&self.outcome.records)
    }

    /// Files that were read for it and are not what they were: their paths, and whether they are gone.
    #[must_use]
    pub fn outdated(&self) -> Vec<(&Path, bool)> {
        let disk = Files::default();
        let read = self.files.iter().filter_map(|(path, sight)| match &sight.content {
            Some(Content::Bytes(bytes)) => Some((path.as_path(), bytes)),
            _ => None,
        });
        let moved = read.filter_map(|(path, bytes)| match disk.read(path) {
            Ok(now) => (now != *bytes).then_some((path, false)),
            Err(_) => Some((path, true)),
        });
        moved.collect()
    }

    fn packed(&self) -> Result<(Index, Pieces), ArchiveError> {
        let mut pieces = Pieces::default();
        let files = self.files.iter().map(|(path, sight)| {
            let content = sight.content.as_ref().map(|content| match content {
                Content::Bytes(bytes) => Some(pieces.put(bytes)),
                Content::Withheld => None,
            });
            let kept = KeptSight {
                kind: sight.kind,
                mode: sight.mode,
                content,
                names: sight.names.clone(),
                real: sight.real.clone(),
            };
            (path.clone(), kept)
        });
        let files = files.collect();
        let mut steps = Vec::new();
        for (key, records) in &self.outcome.records {
            let kept = records.iter().map(|record| record_in(record, &mut pieces));
            steps.push((key.clone(), kept.collect::<Result<_, _>>()?));
        }
        let index = Index {
            made: self.made.clone(),
            choices: self.choices.clone(),
            files,
            steps,
            counts: self.outcome.counts.clone(),
            assumed: self.outcome.assumed.clone(),
            cleared: self.outcome.cleared.clone(),
            quiet: self.outcome.quiet,
            drawing: pieces.put(self.drawing.as_bytes()),
        };
        Ok((index, pieces))
    }

    fn unpacked(index: Index, pieces: &Pieces) -> Result<Plan, ArchiveError> {
        let mut files = Sights::new();
        for (path, kept) in index.files {
            let content = match kept.content {
                None => None,
                Some(None) => Some(Content::Withheld),
                Some(Some(id)) => Some(Content::Bytes(pieces.get(&id)?.to_vec())),
            };
            let sight = Sight {
                kind: kept.kind,
                mode: kept.mode,
                content,
                names: kept.names,
                real: kept.real,
            };
            files.insert(path, sight);
        }
        let mut records = Records::new();
        for (key, kept) in index.steps {
            let all = kept.into_iter().map(|record| record_out(record, pieces));
            records.insert(key, all.collect::<Result<_, _>>()?);
        }
        let outcome = Outcome {
            records,
            counts: index.counts,
            assumed: index.assumed,
            cleared: index.cleared,
            quiet: index.quiet,
            ..Outcome::default()
        };
        Ok(Plan {
            made: index.made,
            choices: index.choices,
            files,
            outcome,
            drawing: String::from_utf8_lossy(pieces.get(&index.drawing)?).into_owned(),
        })
    }
}

/// Hides what has no placeholder and is known as a secret all the same, such as the token of an interface.
fn hide(value: &mut Value) {
    match value {
        Value::Str(text) => *text = scrub::clean(text).into_owned(),
        Value::List(items) => items.iter_mut().for_each(hide),
        Value::Map(map) => map.values_mut().for_each(hide),
        _ => {}
    }
}

fn search() -> Result<Option<regex::bytes::Regex>, Diagnostic> {
    scrub::search().map_err(|error| Diagnostic::new("kept-plan", format!("secrets cannot be looked for: {error}")))
}

fn record_in(record: &Record, pieces: &mut Pieces) -> Result<KeptRecord, ArchiveError> {
    let seen = record.seen.as_ref().map(|seen| pieces.put_value(seen)).transpose()?;
    let input = record.input.as_ref().map(|input| KeptInput {
        module: input.module.clone(),
        args: input.args.clone(),
        env: input.env.clone(),
        content: input.content.as_ref().map(|content| pieces.put(content)),
    });
    let told = match &record.told {
        None => None,
        Some(told) => {
            let mut told = StepResult::clone(told);
            let diff = pieces.put_value(&std::mem::take(&mut told.diff))?;
            Some((told, diff))
        }
    };
    Ok(KeptRecord {
        status: record.status,
        sent: record.sent,
        fingerprint: record.fingerprint,
        sure: record.sure,
        quiet: record.quiet,
        print: record.print,
        seen,
        input,
        told,
    })
}

fn record_out(kept: KeptRecord, pieces: &Pieces) -> Result<Record, ArchiveError> {
    let seen = kept.seen.map(|id| pieces.get_value(&id)).transpose()?;
    let input = match kept.input {
        None => None,
        Some(input) => Some(Input {
            module: input.module,
            args: input.args,
            env: input.env,
            content: input
                .content
                .map(|id| pieces.get(&id).map(<[u8]>::to_vec))
                .transpose()?,
        }),
    };
    let told = match kept.told {
        None => None,
        Some((mut told, diff)) => {
            told.diff = pieces.get_value(&diff)?;
            Some(Box::new(told))
        }
    };
    Ok(Record {
        sent: kept.sent,
        fingerprint: kept.fingerprint,
        sure: kept.sure,
        quiet: kept.quiet,
        print: kept.print,
        seen,
        input,
        told,
        ..Record::new(kept.status)
    })
}
