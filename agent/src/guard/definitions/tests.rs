use std::{fs, time::Duration};

use jiff::Timestamp;
use tempfile::TempDir;

use super::{book::ENTRIES, *};

const HERE: Place<'_> = Place { host: "mcp.test", port: 443, path: Some("/mcp") };
const ENDPOINT: &str = "billing";

/// A state directory, and agents that share it.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn agent(&self, stance: GuardStance) -> (Definitions, Vec<Lost>) {
        Definitions::open(self.0.path(), [(ENDPOINT, stance), ("off", GuardStance::Off)]).unwrap()
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("billing.json")
    }
}

fn tool(description: &str) -> Definition {
    let entry = serde_json::json!({ "name": "add", "description": description, "inputSchema": { "type": "object" } });
    Definition::read(Item::Tool, &entry.to_string()).unwrap()
}

/// A server lists a tool.
async fn lists(known: &Definitions, place: Place<'_>, name: &str, description: &str) -> Noted {
    lists_at(known, place, name, description, Timestamp::now()).await
}

async fn lists_at(known: &Definitions, place: Place<'_>, name: &str, description: &str, now: Timestamp) -> Noted {
    let definition = tool(description);
    let offered = Offered { name, shown: name, definition: &definition, masked: Some(&definition) };
    let mut edit = known.edit(ENDPOINT).await.unwrap().unwrap();
    let (noted, _) = edit.note(place, "mcp.test:443/mcp", Item::Tool, offered, now);
    edit.keep().await.unwrap();
    noted
}

async fn accepts(known: &Definitions, which: Which) -> usize {
    let mut edit = known.edit(ENDPOINT).await.unwrap().unwrap();
    let accepted = edit.would_accept(&which).len();
    edit.accept(&which);
    edit.keep().await.unwrap();
    accepted
}

fn named(name: &str) -> Which {
    Which { name: Some(name.to_owned()), fingerprint: None }
}

fn form(name: &str, description: &str) -> Which {
    Which { fingerprint: Some(tool(description).fingerprint().to_string()[..8].to_owned()), ..named(name) }
}

fn holds(known: &Definitions, name: &str) -> bool {
    known.holds(ENDPOINT, HERE, Item::Tool, name)
}

#[tokio::test]
async fn the_first_form_is_trusted_and_another_one_waits_for_a_person() {
    let site = Site::new();
    let (known, lost) = site.agent(GuardStance::Deny);
    assert!(lost.is_empty() && known.edit("off").await.unwrap().is_none());
    assert_eq!(lists(&known, HERE, "add", "Adds.").await, Noted::New);
    assert_eq!(lists(&known, HERE, "add", "Adds.").await, Noted::Trusted);
    assert!(known.is_settled(ENDPOINT, HERE, Item::Tool, "add", tool("Adds.").fingerprint()));
    assert!(!known.holds_anything(ENDPOINT));

    assert_eq!(lists(&known, HERE, "add", "Sends.").await, Noted::Changed);
    assert!(holds(&known, "add") && !holds(&known, "sub"));
    assert!(!known.holds(ENDPOINT, HERE, Item::Prompt, "add"), "another kind");
    assert!(!known.holds(ENDPOINT, Place { path: Some("/other"), ..HERE }, Item::Tool, "add"), "another server");
    // Turning back is no way out.
    assert_eq!(lists(&known, HERE, "add", "Adds.").await, Noted::Waiting);
    assert!(holds(&known, "add"));
    let (_, _, _, entries) = known.entries().next().unwrap();
    assert_eq!(entries[0].changed_members(), ["description"]);

    assert_eq!(accepts(&known, named("sub")).await, 0);
    assert_eq!(accepts(&known, named("add")).await, 1);
    assert!(!holds(&known, "add"));
    // Both are trusted now: a server may show its callers different forms.
    assert_eq!(lists(&known, HERE, "add", "Sends.").await, Noted::Trusted);
    assert_eq!(lists(&known, HERE, "add", "Adds.").await, Noted::Trusted);
}

#[tokio::test]
async fn a_fingerprint_names_the_form_that_is_meant() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Deny);
    lists(&known, HERE, "add", "Adds.").await;
    lists(&known, HERE, "add", "Sends.").await;
    assert_eq!(accepts(&known, form("add", "Something else.")).await, 0, "not what was shown");
    assert!(holds(&known, "add"));
    // To stay with what was trusted.
    assert_eq!(accepts(&known, form("add", "Adds.")).await, 1);
    assert!(!holds(&known, "add"));
    assert_eq!(lists(&known, HERE, "add", "Sends.").await, Noted::Changed, "it was not accepted");
    assert_eq!(accepts(&known, form("add", "Sends.")).await, 1);
    assert_eq!(lists(&known, HERE, "add", "Sends.").await, Noted::Trusted);
}

#[tokio::test]
async fn what_is_known_outlives_the_agent() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Deny);
    lists(&known, HERE, "add", "Adds.").await;
    lists(&known, HERE, "sub", "Subtracts.").await;
    drop(known);
    let (known, lost) = site.agent(GuardStance::Deny);
    assert!(lost.is_empty());
    assert_eq!(lists(&known, HERE, "add", "Sends.").await, Noted::Changed, "it changed while no agent ran");
    drop(known);
    let (known, _) = site.agent(GuardStance::Deny);
    assert!(holds(&known, "add") && !holds(&known, "sub"), "it waits still");
    let (alerting, _) = site.agent(GuardStance::Alert);
    assert!(!alerting.holds_anything(ENDPOINT), "only where it is to be denied");
}

#[tokio::test]
async fn agents_that_share_the_book_do_not_undo_each_other() {
    let site = Site::new();
    let (one, _) = site.agent(GuardStance::Deny);
    lists(&one, HERE, "add", "Adds.").await;
    let (other, _) = site.agent(GuardStance::Deny);
    lists(&one, HERE, "sub", "Subtracts.").await;
    assert_eq!(lists(&other, HERE, "mul", "Multiplies.").await, Noted::New);
    assert_eq!(lists(&other, HERE, "sub", "Sends.").await, Noted::Changed, "the other one saw it first");
    assert_eq!(lists(&one, HERE, "mul", "Multiplies.").await, Noted::Trusted);
    lists(&one, HERE, "add", "Sends.").await;
    assert!(!holds(&other, "add"));
    other.refresh();
    assert!(holds(&other, "add") && holds(&other, "sub"));
}

#[tokio::test]
async fn what_is_damaged_is_not_trusted_again_by_itself() {
    for damage in [&b""[..], b"weir-catalogue-v1 00\n{}", b"\xff", b"{\"entries\":{}}"] {
        let site = Site::new();
        let (known, _) = site.agent(GuardStance::Deny);
        lists(&known, HERE, "add", "Adds.").await;
        drop(known);
        fs::write(site.file(), damage).unwrap();
        let (known, lost) = site.agent(GuardStance::Deny);
        assert_eq!(lost.len(), 1);
        assert_eq!(fs::read(site.0.path().join("billing.damaged")).unwrap(), damage);
        // Not even before it is listed again.
        assert!(holds(&known, "add"));
        assert_eq!(lists(&known, HERE, "add", "Adds.").await, Noted::Changed);
        assert!(holds(&known, "add"));
        drop(known);
        let (known, lost) = site.agent(GuardStance::Deny);
        assert!(lost.is_empty() && holds(&known, "add") && holds(&known, "sub"), "it stays lost");
        accepts(&known, named("add")).await;
        assert!(!holds(&known, "add") && holds(&known, "sub"));
        assert_eq!(lists(&known, HERE, "sub", "Subtracts.").await, Noted::Changed);
        accepts(&known, Which::default()).await;
        assert!(!known.holds_anything(ENDPOINT));
        assert_eq!(lists(&known, HERE, "mul", "Multiplies.").await, Noted::New);
    }
}

#[tokio::test]
async fn one_bit_is_damage() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Alert);
    lists(&known, HERE, "add", "Adds.").await;
    let good = fs::read(site.file()).unwrap();
    for at in [0, 20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(site.file(), &bad).unwrap();
        assert_eq!(site.agent(GuardStance::Alert).1.len(), 1, "byte {at}");
    }
}

#[tokio::test]
async fn a_book_that_was_damaged_while_the_agent_ran_is_written_anew() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Deny);
    lists(&known, HERE, "add", "Adds.").await;
    fs::write(site.file(), "x").unwrap();
    known.refresh();
    assert_eq!(lists(&known, HERE, "add", "Sends.").await, Noted::Changed);
    assert!(site.agent(GuardStance::Deny).1.is_empty());
}

#[tokio::test]
async fn a_book_that_cannot_be_written_changes_nothing() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Deny);
    let definition = tool("Adds.");
    let offered = Offered { name: "add", shown: "add", definition: &definition, masked: None };
    let mut edit = known.edit(ENDPOINT).await.unwrap().unwrap();
    edit.note(HERE, "s", Item::Tool, offered, Timestamp::now());
    fs::remove_dir_all(site.0.path()).unwrap();
    assert!(edit.keep().await.unwrap_err().to_string().contains("cannot write"));
    assert!(!known.is_settled(ENDPOINT, HERE, Item::Tool, "add", definition.fingerprint()));
}

#[tokio::test]
async fn what_a_server_can_fill_is_bounded() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Alert);
    let long = "x".repeat(100 << 10);
    let definition = tool(&long);
    let mut edit = known.edit(ENDPOINT).await.unwrap().unwrap();
    let mut note = |n: usize| {
        let name = format!("tool-{n}");
        let offered = Offered { name: &name, shown: &long, definition: &definition, masked: Some(&definition) };
        edit.note(HERE, &long, Item::Tool, offered, Timestamp::now()).0
    };
    assert!((0..ENTRIES).all(|n| note(n) == Noted::New));
    assert_eq!((note(ENTRIES), note(7)), (Noted::NoRoom, Noted::Trusted));
    edit.keep().await.unwrap();
    let length = fs::metadata(site.file()).unwrap().len();
    assert!(length < 8 << 20, "{length}");
}

#[tokio::test]
async fn a_server_that_says_something_else_each_time_writes_no_faster() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Alert);
    let start = Timestamp::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    assert_eq!(lists_at(&known, HERE, "add", "one", at(0)).await, Noted::New);
    assert_eq!(lists_at(&known, HERE, "add", "two", at(1)).await, Noted::Changed);
    let written = fs::metadata(site.file()).unwrap().modified().unwrap();
    assert_eq!(lists_at(&known, HERE, "add", "three", at(5)).await, Noted::Waiting);
    assert_eq!(fs::metadata(site.file()).unwrap().modified().unwrap(), written);
    assert_eq!(lists_at(&known, HERE, "add", "three", at(12)).await, Noted::Changed);
    assert_eq!(accepts(&known, form("add", "two")).await, 0, "the newest one waits");
}

#[tokio::test]
async fn what_a_mask_hides_is_not_kept() {
    let site = Site::new();
    let (known, _) = site.agent(GuardStance::Alert);
    let (definition, masked) = (tool("Ask anna@example.com."), tool("Ask [email]."));
    let offered =
        Offered { name: "anna@example.com", shown: "[email]", definition: &definition, masked: Some(&masked) };
    let mut edit = known.edit(ENDPOINT).await.unwrap().unwrap();
    edit.note(HERE, "s", Item::Tool, offered, Timestamp::now());
    edit.keep().await.unwrap();
    let kept = fs::read_to_string(site.file()).unwrap();
    assert!(kept.contains("Ask [email].") && !kept.contains("anna"), "{kept}");
    assert!(!known.is_settled(ENDPOINT, HERE, Item::Tool, "anna@example.com", masked.fingerprint()));
    assert!(known.is_settled(ENDPOINT, HERE, Item::Tool, "anna@example.com", definition.fingerprint()));
}
