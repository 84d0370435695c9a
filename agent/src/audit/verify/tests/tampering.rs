//! Every attack that we know of, against a log's directory, against the files that were delivered, and against both
//! together; and what `verify` says of each.

use std::{fmt::Write as _, fs, path::Path};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    super::{Expectations, From, GivenKey, KeyHolder, Report, verify_directory, verify_files},
    forge::{BEGIN, Writer, chained, events, write_directory},
};
use crate::audit::{
    chain::{Hash, Line},
    checkpoint::signer::Signer,
    event::{Agent, Life, What},
    ocsf::render,
    samples::{event, scratch_dir},
};

type Lines = Vec<Vec<u8>>;

/// Two hosts: `a` is attacked.
struct Genuine {
    a: Lines,
    b: Lines,
}

impl Genuine {
    fn new() -> Self {
        Self { a: log("log-a", 1, |_| {}).lines, b: log("log-b", 2, |_| {}).lines }
    }

    /// What had left the host when it was attacked.
    fn left(&self) -> &[Vec<u8>] {
        &self.a[..self.a.len() - 3]
    }

    /// The position of the last checkpoint.
    fn last_checkpoint(&self) -> usize {
        self.a.iter().rposition(|line| is_checkpoint(line)).unwrap()
    }

    /// `a` with its events changed and every hash computed anew.
    fn rewritten(&self, edit: impl FnOnce(&mut Vec<(u64, String)>)) -> Lines {
        let mut events = events(&self.a);
        edit(&mut events);
        chained("log-a", &events)
    }
}

/// 3 agents, each with 20 rounds of 3 calls and a checkpoint. `after` sees the writer after 40 rounds.
fn log(name: &str, key: u8, mut after: impl FnMut(&mut Writer)) -> Writer {
    let mut writer = Writer::new(name, key);
    for round in 0..60 {
        if round == 40 {
            after(&mut writer);
        }
        if round > 0 && round % 20 == 0 {
            writer.start();
        }
        for call in 0..3 {
            writer.call(round * 3 + call);
        }
        writer.checkpoint();
    }
    for call in 0..4 {
        writer.call(1000 + call);
    }
    writer
}

fn is_checkpoint(line: &[u8]) -> bool {
    memchr::memmem::find(line, br#""checkpoint":{"#).is_some()
}

/// What the attacker leaves: of host `a`, of host `b`, and whether the genuine records of `a` had been delivered before.
struct Left {
    a: Lines,
    b: Lines,
    delivered: bool,
}

type Attack = fn(&Genuine) -> Left;

/// What is said of an attack: in the directory, in the files, in both together. An empty name: it is not, or need not be.
type Said = [&'static str; 3];

fn only(genuine: &Genuine, a: Lines) -> Left {
    Left { a, b: genuine.b.clone(), delivered: false }
}

fn after_delivery(genuine: &Genuine, a: Lines) -> Left {
    Left { a, b: genuine.b.clone(), delivered: true }
}

const ATTACKS: &[(&str, Attack, Said)] = &[
    ("nothing", |g| only(g, g.a.clone()), ["", "", ""]),
    ("delete a record", |g| only(g, without(&g.a, 30)), ["displaced", "missing", ""]),
    (
        "delete a record, chain anew",
        |g| only(g, g.rewritten(|e| drop(e.remove(30)))),
        ["checkpoint_reach", "checkpoint_reach", "forked"],
    ),
    ("alter a byte", |g| only(g, replaced(&g.a, 30, "params", "Params")), ["altered", "altered", "altered"]),
    (
        "alter a record and its hash",
        |g| {
            let mut lines = g.a.clone();
            lines[30] = g.rewritten(|e| e[30].1 = altered(&e[30].1))[30].clone();
            only(g, lines)
        },
        ["unlinked", "unlinked", "forked"],
    ),
    (
        "alter a record, chain anew",
        |g| only(g, g.rewritten(|e| e[30].1 = altered(&e[30].1))),
        ["checkpoint_differs", "checkpoint_differs", "forked"],
    ),
    (
        "insert a record, chain anew",
        |g| {
            only(
                g,
                g.rewritten(|e| {
                    let again = e[30].clone();
                    e.insert(30, again);
                }),
            )
        },
        ["checkpoint_differs", "checkpoint_differs", "forked"],
    ),
    (
        "swap two records",
        |g| {
            let mut lines = g.a.clone();
            lines.swap(30, 31);
            only(g, lines)
        },
        ["displaced", "", ""],
    ),
    (
        "swap two records, chain anew",
        |g| only(g, g.rewritten(|e| e.swap(29, 30))),
        ["checkpoint_differs", "checkpoint_differs", "forked"],
    ),
    ("truncate the tail", |g| only(g, g.a[..g.a.len() - 80].to_vec()), ["silent", "silent", ""]),
    (
        "truncate the tail, and say that the agent stopped",
        |g| {
            only(
                g,
                g.rewritten(|e| {
                    e.truncate(e.len() - 80);
                    let stopped = format!(r#"{{"class_uid":6002,"time":{BEGIN},"lifecycle":{{"kind":"stopped"}}}}"#);
                    e.push((e[e.len() - 1].0, stopped));
                }),
            )
        },
        ["silent", "silent", "forked"],
    ),
    ("truncate the front", |g| only(g, g.a[40..].to_vec()), ["front_missing", "front_missing", ""]),
    ("replay an old segment", |g| only(g, [&g.a[..], &g.a[20..40]].concat()), ["displaced", "", ""]),
    (
        "fork after a restored backup",
        |g| {
            let restored = log("log-a", 1, |writer| writer.call(7777));
            after_delivery(g, restored.lines)
        },
        ["", "forked", "forked"],
    ),
    (
        "swap checkpoints between hosts",
        |g| {
            let others = events(&g.b);
            let at = g.last_checkpoint();
            let theirs = others.iter().rfind(|(_, event)| is_checkpoint(event.as_bytes())).unwrap().clone();
            only(g, g.rewritten(|e| e[at].1 = theirs.1))
        },
        ["checkpoint_foreign", "checkpoint_foreign", "forked"],
    ),
    (
        "strip the signatures",
        |g| {
            only(
                g,
                g.rewritten(|e| {
                    for (_, event) in e {
                        *event = stripped(event);
                    }
                }),
            )
        },
        ["not_signed", "not_signed", "forked"],
    ),
    (
        "drop every checkpoint",
        |g| only(g, g.rewritten(|e| e.retain(|(_, event)| !event.contains("\"checkpoint\"")))),
        ["unsigned", "unsigned", "forked"],
    ),
    (
        "chain anew before the last checkpoint that left",
        |g| {
            after_delivery(
                g,
                g.rewritten(|e| {
                    let at = e.len() - 60;
                    e[at].1 = altered(&e[at].1);
                    let mut position = 0;
                    e.retain(|(_, event)| {
                        position += 1;
                        position <= at || !event.contains("\"checkpoint\"")
                    });
                }),
            )
        },
        ["unsigned", "forked", "forked"],
    ),
    (
        "sign everything anew with another key",
        |_| {
            let g = Genuine::new();
            only(&g, log("log-a", 9, |_| {}).lines)
        },
        ["unknown_key", "unknown_key", "unknown_key"],
    ),
    ("silence a host", |g| Left { a: g.a.clone(), b: Vec::new(), delivered: false }, ["", "absent", "absent"]),
    (
        "silence a host after a while",
        |g| Left { a: g.a.clone(), b: g.b[..g.b.len() - 80].to_vec(), delivered: false },
        ["", "silent", "silent"],
    ),
    (
        "duplicate with an altered copy",
        |g| only(g, [&g.a[..], &replaced(&g.a, 30, "params", "Params")[30..31]].concat()),
        ["altered", "altered", "altered"],
    ),
    (
        "duplicate with a copy hashed anew",
        |g| {
            let copy = g.rewritten(|e| e[30].1 = altered(&e[30].1))[30].clone();
            only(g, [&g.a[..], &[copy]].concat())
        },
        ["head_differs", "forked", "forked"],
    ),
    ("a key that nobody vouched for", |_| forged_rotation(None), ["key_not_vouched", "key_not_vouched", "forked"]),
    ("a key that vouches for itself", |_| forged_rotation(Some(9)), ["key_not_vouched", "key_not_vouched", "forked"]),
    ("another host's key", |g| only(g, anothers_key()), ["", "key_shared", "forked"]),
    (
        "a stolen key that was replaced",
        |_| {
            let g = Genuine { a: log("log-a", 1, |w| w.rotate(5, None)).lines, ..Genuine::new() };
            let stolen = log("log-a", 1, |w| {
                w.rotate(5, None);
                w.signer = Signer::of_test(1);
            });
            only(&g, stolen.lines)
        },
        ["stale_key", "stale_key", "forked"],
    ),
    (
        "roll the epoch back",
        |g| {
            only(
                g,
                g.rewritten(|e| {
                    for (epoch, _) in &mut e[200..] {
                        *epoch = 1;
                    }
                }),
            )
        },
        ["epoch", "epoch", "forked"],
    ),
    (
        "a checkpoint with another counter",
        |g| {
            only(
                g,
                g.rewritten(|e| {
                    let at = e.iter().rposition(|(_, event)| event.contains("\"checkpoint\"")).unwrap();
                    e[at].1 = e[at].1.replacen("\"records\":10", "\"records\":99", 1);
                }),
            )
        },
        ["signature_wrong", "signature_wrong", "forked"],
    ),
    (
        "repeat a checkpoint",
        |g| {
            only(
                g,
                g.rewritten(|e| {
                    let at: Vec<_> = (0..e.len()).filter(|at| e[*at].1.contains("\"checkpoint\"")).collect();
                    let older = e[at[at.len() - 2]].1.clone();
                    e[at[at.len() - 1]].1 = older;
                }),
            )
        },
        ["checkpoint_unlinked", "checkpoint_unlinked", "forked"],
    ),
    (
        "go on from a snapshot of the host",
        |g| {
            let rolled = log("log-a", 1, |w| w.since_boot_ns = 5);
            after_delivery(g, rolled.lines)
        },
        ["clock_back", "clock_back", "clock_back"],
    ),
    (
        "move another host's record in",
        |g| {
            let mut lines = g.a.clone();
            lines.insert(30, g.b[30].clone());
            only(g, lines)
        },
        ["foreign", "", ""],
    ),
];

fn without(lines: &[Vec<u8>], at: usize) -> Lines {
    let mut lines = lines.to_vec();
    lines.remove(at);
    lines
}

fn replaced(lines: &[Vec<u8>], at: usize, old: &str, new: &str) -> Lines {
    let mut lines = lines.to_vec();
    let line = String::from_utf8(lines[at].clone()).unwrap();
    assert!(line.contains(old), "{line}");
    lines[at] = line.replacen(old, new, 1).into_bytes();
    lines
}

fn altered(event: &str) -> String {
    event.replacen("{\"class_uid\"", "{\"forged\":1,\"class_uid\"", 1)
}

fn stripped(event: &str) -> String {
    match event.find(",\"signature\":") {
        Some(at) if event.contains("\"checkpoint\"") => format!("{}}}}}", &event[..at]),
        _ => event.to_owned(),
    }
}

/// The host's own log up to round 40, then the attacker's key.
fn forged_rotation(voucher: Option<u8>) -> Left {
    let genuine = Genuine::new();
    let voucher = voucher.map(Signer::of_test);
    let forged = log("log-a", 1, |writer| match &voucher {
        Some(voucher) => writer.rotate(9, Some(voucher)),
        None => {
            writer.signer = Signer::of_test(9);
            let change = serde_json::to_string(&writer.key_change(Some(Signer::of_test(1).public()))).unwrap();
            writer.append(&format!(r#""signing_key":{change}"#));
        }
    });
    only(&genuine, forged.lines)
}

/// The host's own log up to round 40, then signed with the key of host `b`, which the auditor gave: nobody vouches for the change.
fn anothers_key() -> Lines {
    let forged = log("log-a", 1, |writer| {
        writer.signer = Signer::of_test(2);
        let change = serde_json::to_string(&writer.key_change(Some(Signer::of_test(1).public()))).unwrap();
        writer.append(&format!(r#""signing_key":{change}"#));
    });
    forged.lines
}

/// What an auditor of both hosts has.
fn expectations(genuine: &Genuine) -> Expectations {
    let newest = |lines: &[Vec<u8>]| {
        let last = events(lines).pop().unwrap().1;
        serde_json::from_str::<serde_json::Value>(&last).unwrap()["time"].as_i64().unwrap()
    };
    let keys = [1, 2].map(|key| Signer::of_test(key).public().clone().into());
    Expectations {
        keys: keys.to_vec(),
        inventory: vec!["log-a".into(), "host-of-log-b".into()],
        until: Some(Timestamp::from_millisecond(newest(&genuine.a) + 20_000).unwrap()),
        from: None,
    }
}

fn kinds(report: &Report) -> Vec<&'static str> {
    let found = report.logs.iter().map(|log| &log.findings).chain([&report.beside]);
    let mut kinds: Vec<_> = found.flat_map(|findings| &findings.listed).map(|finding| finding.kind).collect();
    kinds.dedup();
    kinds
}

fn directory(dir: &Path, left: &Left, expect: &Expectations) -> Report {
    write_directory(dir, "log-a", &left.a, 50);
    let expect = Expectations { inventory: vec!["log-a".into()], ..expect.clone() };
    verify_directory(dir, &expect, |_| {}).unwrap()
}

/// As delivered: every third line first, in two files.
fn files(dir: &Path, genuine: &Genuine, left: &Left, expect: &Expectations) -> Report {
    let delivered = if left.delivered { genuine.left() } else { &[] };
    let all: Vec<_> = left.a.iter().chain(&left.b).chain(delivered).collect();
    let (first, second): (Vec<_>, Vec<_>) = all.into_iter().enumerate().partition(|(at, _)| at % 3 == 0);
    for (name, lines) in [("1", first), ("2", second)] {
        let text: Vec<u8> = lines.into_iter().rev().flat_map(|(_, line)| line.clone()).collect();
        fs::create_dir_all(dir.join("2026/07")).unwrap();
        fs::write(dir.join("2026/07").join(name), text).unwrap();
    }
    verify_files(&[dir.to_owned()], expect, |_| {}).unwrap()
}

/// The attacked directory beside the copies that had left the hosts.
fn both(dir: &Path, genuine: &Genuine, left: &Left, expect: &Expectations) -> Report {
    write_directory(&dir.join("host"), "log-a", &left.a, 50);
    fs::write(dir.join("copies"), [genuine.left().concat(), left.b.concat()].concat()).unwrap();
    verify_files(&[dir.join("host"), dir.join("copies")], expect, |_| {}).unwrap()
}

#[test]
fn every_attack_is_named() {
    let genuine = Genuine::new();
    let expect = expectations(&genuine);
    let mut table = format!("{:50} {:22} {:22} {}\n", "attack", "directory", "delivered files", "both together");
    let mut wrong = Vec::new();
    for (attack, tamper, said) in ATTACKS {
        let left = tamper(&genuine);
        let dir = scratch_dir();
        let reports = [
            directory(&dir.path().join("directory"), &left, &expect),
            files(&dir.path().join("files"), &genuine, &left, &expect),
            both(&dir.path().join("both"), &genuine, &left, &expect),
        ];
        let _ = write!(table, "{attack:50}");
        for (report, said) in reports.iter().zip(said) {
            let kinds = kinds(report);
            let named = kinds.iter().find(|kind| *kind == said).or(kinds.first()).copied().unwrap_or("-");
            let _ = write!(table, " {named:22}");
            if said.is_empty() != report.intact || !(said.is_empty() || kinds.contains(said)) {
                wrong.push(format!("{attack}: {kinds:?} rather than {said:?}"));
            }
        }
        table.push('\n');
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_key_signs_only_for_the_host_that_it_was_given_for() {
    let genuine = Genuine::new();
    let given = |a: KeyHolder, b: KeyHolder| {
        let keys =
            [(1, a), (2, b)].map(|(key, signer)| GivenKey { key: Signer::of_test(key).public().clone(), signer });
        Expectations { keys: keys.to_vec(), ..expectations(&genuine) }
    };
    let named = |name: &str| KeyHolder::Named(name.into());
    let bound = [("log-a", "log-b"), ("host-of-log-a", "id-of-log-b")].map(|(a, b)| given(named(a), named(b)));
    let dir = scratch_dir();
    let said = |name: &str, a: Lines, expect: &Expectations| -> [Vec<&str>; 2] {
        let left = only(&genuine, a);
        let (own, copies) = (dir.path().join(name).join("own"), dir.path().join(name).join("copies"));
        [kinds(&directory(&own, &left, expect)), kinds(&files(&copies, &genuine, &left, expect))]
    };
    let nothing = [const { Vec::<&str>::new() }; 2];
    for (number, expect) in bound.iter().enumerate() {
        assert_eq!(said(&format!("genuine {number}"), genuine.a.clone(), expect), nothing);
        for kinds in said(&format!("forged {number}"), anothers_key(), expect) {
            assert_eq!(kinds.first(), Some(&"key_of_another"), "{kinds:?}");
        }
    }
    let shared = given(KeyHolder::OneHost, KeyHolder::Anybody);
    assert_eq!(said("shared", anothers_key(), &shared), nothing, "a key that anybody may sign with proves no host");
}

#[test]
fn a_host_that_stopped_is_not_silent_once_a_checkpoint_says_so() {
    let genuine = Genuine::new();
    let expect = expectations(&genuine);
    let year = Some(Timestamp::from_millisecond(BEGIN + 365 * 86_400_000).unwrap());
    for (kind, is_signed) in [("stopped", true), ("detached", true), ("stopped", false)] {
        let mut writer = log("log-a", 1, |_| {});
        writer.append(&format!(r#""lifecycle":{{"kind":"{kind}"}}"#));
        if is_signed {
            writer.checkpoint();
        }
        let dir = scratch_dir();
        let report =
            directory(dir.path(), &only(&genuine, writer.lines), &Expectations { until: year, ..expect.clone() });
        assert_eq!(kinds(&report), if is_signed { vec![] } else { vec!["silent"] }, "{kind}");
    }
}

#[test]
fn the_first_record_that_is_wrong_is_named() {
    let genuine = Genuine::new();
    let expect = expectations(&genuine);
    for (tamper, seq) in [
        (Box::new(|| without(&genuine.a, 30)) as Box<dyn Fn() -> Lines>, 31),
        (Box::new(|| replaced(&genuine.a, 30, "params", "Params")), 31),
        (Box::new(|| genuine.a[40..].to_vec()), 1),
    ] {
        let dir = scratch_dir();
        let left = only(&genuine, tamper());
        for report in
            [directory(&dir.path().join("d"), &left, &expect), files(&dir.path().join("f"), &genuine, &left, &expect)]
        {
            let first = report.first_bad().unwrap();
            assert_eq!(first.seq, Some(seq), "{first:?}");
        }
    }
}

#[test]
fn a_front_is_accepted_that_is_not_expected_and_in_the_directory_one_that_was_retired() {
    let genuine = Genuine::new();
    let retire = |through_hash: Hash| {
        let mut writer = log("log-a", 1, |_| {});
        let life = Life::Retired { through_seq: 40, through_hash, segments: 1, bytes: 4096 };
        writer.event(&render(event(What::Agent(Agent::Life(life))), Uuid::nil()).unwrap());
        writer.checkpoint();
        writer.lines[40..].to_vec()
    };
    let hash = Line::parse(&genuine.a[39]).unwrap().hash;
    let expect = Expectations { until: None, ..expectations(&genuine) };
    let from = |from| Expectations { from: Some(from), ..expect.clone() };
    let at = |seconds: i64| From::Time(Timestamp::from_millisecond(BEGIN + seconds * 1000).unwrap());
    let begun = genuine.a[40..].to_vec();
    const MISSING: &[&str] = &["front_missing"];
    for (lines, expect, own_says, copies_say) in [
        (retire(hash), &expect, &[][..], &["front_retired"][..]),
        (retire(hash), &from(From::Seq(41)), &[], &[]),
        (retire(Hash::ZERO), &expect, MISSING, MISSING),
        (begun.clone(), &expect, MISSING, MISSING),
        (begun.clone(), &from(From::Seq(41)), &[], &[]),
        (begun.clone(), &from(From::Seq(40)), MISSING, MISSING),
        (begun.clone(), &from(at(80)), &[], &[]),
        (begun.clone(), &from(at(0)), MISSING, MISSING),
    ] {
        let dir = scratch_dir();
        let left = only(&genuine, lines);
        let own = directory(&dir.path().join("d"), &left, expect);
        let delivered = files(&dir.path().join("f"), &genuine, &left, expect);
        assert_eq!((kinds(&own), kinds(&delivered)), (own_says.to_vec(), copies_say.to_vec()));
    }
}
