//! The search that every test ends with finds what it looks for, wherever an agent lets it out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use weir_tests::fixture::{APP, Agent, ConfigToml, Curl, ServerKind};

use crate::story::{initialize, stage_with};

#[test]
fn a_secret_that_gets_out_fails_its_test_whatever_the_test_is_about() {
    const PLANTED: &str = "planted.test";
    let (stage, server) = stage_with(ServerKind::Python, "leaks");
    stage.world().add_hosts(&format!("{} {PLANTED}", server.addresses()[0]));
    let endpoint = format!(
        "[[endpoint]]\nname = \"{PLANTED}\"\nhosts = [\"mcp.test\", \"{PLANTED}\"]\nupstream_ca = {:?}",
        stage.server_ca()
    );
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).and(&endpoint));
    stage.secret("never-used-by-anybody");
    assert_eq!(Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, APP).status, 200);
    assert_eq!(agent.leaks(), Vec::<String>::new());

    // An endpoint's name stands everywhere.
    stage.secret(PLANTED);
    let leaks = agent.leaks();
    for place in ["/weir.log: ", ".ndjson: ", "status: ", "status --json: ", "metrics: "] {
        assert!(leaks.iter().any(|leak| leak.contains(place)), "{place}: {leaks:#?}");
    }
    let said = catch_unwind(AssertUnwindSafe(|| agent.command(&["check"])));
    said.expect_err("a command that says it fails the test");
    // Nor may a reply have in it what is the agent's alone.
    stage.agents_secret("protocolVersion");
    let asked =
        catch_unwind(AssertUnwindSafe(|| Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, APP)));
    asked.expect_err("the reply fails the test");
    let ended = catch_unwind(AssertUnwindSafe(|| drop(agent)));
    let said = ended.expect_err("its end fails the test");
    assert!(said.downcast_ref::<String>().is_some_and(|said| said.contains(PLANTED)), "{said:?}");
}
