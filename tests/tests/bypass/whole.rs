//! The vectors against the agent as it ships, from a container that it finds by itself. They speak no TLS, so it has no reason
//! to call the target for them: what reaches it does not come from the agent.

use std::collections::HashSet;

use weir_certs::pki::Validity;
use weir_tests::{
    fixture::{APP, Agent, ConfigToml, Records, Stage, eventually},
    raw::{
        client::{self, RawClient, Trust},
        server::{self, RawServer},
    },
};

use crate::{
    arena::Verdict,
    place::{Place, Quarters, Side},
    table::Table,
    target::{PORT, Target},
    vectors::{Needs, User, all},
};

/// The target's name.
const HOST: &str = "target.test";
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Fields drop in this order.
struct Scene {
    servers: Vec<RawServer>,
    target: Target,
    quarters: Quarters,
    calls: usize,
}

impl Scene {
    fn new(stage: &mut Stage) -> Self {
        let (quarters, neighbour) = Quarters::new(stage.world_mut(), Place::Container);
        let target = quarters.inside(|| Target::new(neighbour));
        let addresses = target.addresses();
        stage.world().add_hosts(&addresses.iter().map(|a| format!("{} {HOST}\n", a.ip())).collect::<String>());
        let identity = stage.pki().server(&[HOST], Validity::Valid).unwrap();
        let serve = |address: &std::net::SocketAddr| {
            RawServer::start(address.ip(), address.port(), server::tls(&identity, &["http/1.1"]))
        };
        let servers = target.neighbour.run(|| addresses[..2].iter().map(serve).collect());
        Self { servers, target, quarters, calls: 0 }
    }

    fn config(stage: &Stage) -> ConfigToml {
        let endpoint = format!("[[endpoint]]\nname = \"target\"\nhosts = [\"{HOST}\"]\nports = [{PORT}]");
        ConfigToml::of(&[]).and(&format!("{endpoint}\nupstream_ca = {:?}", stage.server_ca()))
    }

    /// The agent calls the target for a client that does as it should.
    fn call(&mut self, stage: &Stage, agent: &Agent<'_>) {
        let network = self.quarters.netns().cookie().unwrap().0;
        eventually("the container's network is served", || {
            let status = agent.status();
            let listeners = status["listeners"].as_array().unwrap();
            listeners.iter().any(|listener| listener["netns"] == network).then_some(())
        });
        // A leaf: runc gives controllers to what is above its cgroups.
        stage.world().enter(&format!("{APP}/client"));
        for address in &self.target.addresses()[..2] {
            let trust = Trust::file(Some(&stage.trust()), &["http/1.1"]);
            let ask = || {
                RawClient::tls(*address, HOST, &trust).unwrap().ask(&client::post(
                    &format!("{HOST}:{PORT}"),
                    "/mcp",
                    "",
                    PING,
                ))
            };
            let reply = self.quarters.inside(ask).unwrap().expect("a response");
            assert_eq!(reply.status(), 200, "{reply:?}");
            self.calls += 1;
        }
        self.target.forget_what_arrived();
    }

    /// Every vector, by every user.
    fn try_all(&mut self, stage: &Stage, when: &'static str, table: &mut Table) {
        for vector in all() {
            for user in User::ALL {
                self.quarters.run(stage.world(), &vector, user, Side::InScope, &self.target);
                table.note_reached(when, &vector, user, self.target.was_reached(&vector));
            }
        }
    }
}

/// The flows of which the log has a record.
fn flows(records: &Records) -> HashSet<String> {
    let flows =
        records.filter(|record| record.event()["class_uid"] == 4001 && record.event()["flow"]["end"].is_string());
    flows.map(|record| record.event()["flow"]["id"].to_string()).collect()
}

fn redirected(agent: &Agent<'_>) -> usize {
    let status = agent.status();
    let redirected = status["endpoints"][0]["redirected"].as_u64();
    usize::try_from(redirected.unwrap_or_else(|| panic!("no number: {status}"))).unwrap()
}

#[test]
fn there_is_no_way_around_the_whole_agent() {
    let mut stage = Stage::new("bypass-whole");
    let mut scene = Scene::new(&mut stage);
    let mut agent = Agent::start(&stage, &Scene::config(&stage));
    let mut table = Table::new(Place::Container);
    scene.call(&stage, &agent);

    scene.try_all(&stage, "agent alive", &mut table);
    let certain = all().into_iter().filter(|v| v.needs == Needs::Nothing && v.expected == Verdict::Intercepted);
    let least = scene.calls + User::ALL.len() * certain.count();
    let redirected = redirected(&agent);
    assert!(redirected >= least, "{redirected} connections redirected, at least {least} made");
    let records = agent.records_once("every flow that was redirected", |records| flows(records).len() >= redirected);
    assert_eq!(flows(&records).len(), redirected, "{}", records.summary());

    agent.kill9();
    scene.try_all(&stage, "agent killed", &mut table);
    agent.restart();
    scene.call(&stage, &agent);

    println!("{table}");
    assert_eq!(table.failures(), Vec::<String>::new());
    // All that the target was ever asked.
    assert_eq!(scene.servers.iter().map(|server| server.seen().len()).sum::<usize>(), scene.calls);
    agent.verify();
}
