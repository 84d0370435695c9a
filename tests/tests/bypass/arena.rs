//! Where the vectors are tried: a target, an agent as far as the kernel knows one, and programs in and out of its scope.

use std::{collections::HashMap, fmt, time::Duration};

use socket2::Socket;
use weir::datapath::{
    AttachOptions, CgroupTree, Datapath, EndpointCounts, EndpointIndex, Holder, Listeners, NamePattern, Published,
    Registration, Verbosity,
};
use weir_tests::world::World;

use crate::{
    place::{Place, Quarters, Side},
    table::Control,
    target::Target,
    vectors::{User, Vector},
};

/// What a kernel says that lacks something: `ENOSYS`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, `EOPNOTSUPP`, `EAFNOSUPPORT`.
const NOT_OFFERED: [i32; 5] = [38, 93, 94, 95, 97];

/// What became of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Something reached the target.
    Through,
    /// The agent got it.
    Intercepted,
    /// A system call was refused.
    Denied,
    /// The guard stopped it.
    Guarded,
    /// Nothing reached the target, and nothing was counted.
    Untraced,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Through => "through",
            Self::Intercepted => "intercepted",
            Self::Denied => "denied",
            Self::Guarded => "guarded",
            Self::Untraced => "no trace",
        })
    }
}

/// Fields drop in this order.
pub(crate) struct Arena {
    pub(crate) datapath: Datapath,
    agent: Option<Listeners>,
    /// What a killed agent leaves.
    left: Option<Published>,
    _registration: Registration,
    _listeners: Vec<Socket>,
    target: Target,
    quarters: Quarters,
    world: World,
}

impl Arena {
    pub(crate) fn new(name: &str, place: Place) -> Self {
        let mut world = World::new(name);
        let (quarters, neighbour) = Quarters::new(&mut world, place);
        let target = quarters.inside(|| Target::new(neighbour));

        let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
        let attached = Datapath::attach(&AttachOptions {
            cgroups: &cgroups,
            bpffs: world.bpffs().join("weir"),
            take_all: false,
            allow_raw: false,
            deny_link_layer: false,
            verbosity: Verbosity::Denials,
            max_pending: None,
        });
        let datapath = attached.unwrap().datapath;
        let registration = datapath.register_agent(&cgroups).unwrap();
        let listeners = datapath.open_listeners(&quarters.netns()).unwrap();
        datapath.set_scope(&[cgroups.id_of(Side::InScope.cgroup()).unwrap()], &[]).unwrap();
        let (agent, left) = (Some(listeners), None);
        let listening = target.listen();
        let arena =
            Self { datapath, agent, left, _registration: registration, _listeners: listening, target, quarters, world };
        arena.take_registered();
        arena
    }

    /// From now on the target is one of those that nobody registered, and all TCP is taken.
    pub(crate) fn take_all_and_forget_the_target(&self) {
        self.datapath.set_take_all(true).unwrap();
        self.datapath.set_destinations(&HashMap::new()).unwrap();
    }

    /// The target is registered, and nothing else is taken.
    pub(crate) fn take_registered(&self) {
        let destinations = self.target.addresses().iter().enumerate().map(|(n, address)| (*address, index(n)));
        self.datapath.set_destinations(&destinations.collect::<HashMap<_, _>>()).unwrap();
        self.datapath.set_take_all(false).unwrap();
    }

    /// The target is known to the place's own network only, as what its hosts file or an answer gave.
    pub(crate) fn learn_the_target(&self) {
        self.datapath.set_destinations(&HashMap::new()).unwrap();
        self.datapath.set_take_all(false).unwrap();
        let cgroups = CgroupTree::open(self.world.cgroup_base()).unwrap();
        let holder = Holder::of(&cgroups, cgroups.id_of(Side::InScope.cgroup()).unwrap()).unwrap().unwrap();
        let netns = self.quarters.netns().cookie().unwrap();
        for (n, address) in self.target.addresses().iter().enumerate() {
            let ports = vec![(address.port(), index(n))];
            let pattern = NamePattern { name: "target.test".into(), below: false, ports };
            let keep = Duration::from_secs(3600);
            self.datapath.learn_listed(netns, &holder, "target.test", &pattern, address.ip(), keep).unwrap();
        }
    }

    /// The agent's listeners go, as when it is killed; what it told the programs stays.
    pub(crate) fn kill_agent(&mut self) {
        self.left = self.agent.take().map(|Listeners { published, .. }| published);
    }

    /// What the vector can do out of scope.
    pub(crate) fn try_out_of_scope(&mut self, vector: &Vector, user: User) -> Control {
        let before = self.counts();
        let code = self.quarters.run(&self.world, vector, user, Side::OutOfScope, &self.target);
        assert_eq!(self.counts(), before, "{}: what is out of scope was not left alone", vector.name());
        match code {
            _ if self.target.was_reached_by_strangers(vector) => Control::Reached,
            Some(errno) if NOT_OFFERED.contains(&errno) => Control::NotOffered,
            _ => Control::Nowhere,
        }
    }

    /// What becomes of the vector in scope.
    pub(crate) fn try_in_scope(&mut self, vector: &Vector, user: User) -> Verdict {
        let (before, raw_before) = (self.counts(), self.datapath.denials().unwrap().raw_socket);
        self.quarters.run(&self.world, vector, user, Side::InScope, &self.target);
        let (after, raw_after) = (self.counts(), self.datapath.denials().unwrap().raw_socket);
        self.hang_up();
        if self.target.was_reached(vector) {
            Verdict::Through
        } else if after.redirected > before.redirected {
            Verdict::Intercepted
        } else if after.denied > before.denied || raw_after > raw_before {
            Verdict::Denied
        } else if after.guarded > before.guarded {
            Verdict::Guarded
        } else {
            Verdict::Untraced
        }
    }

    /// Over all targets, registered or not.
    pub(crate) fn counts(&self) -> EndpointCounts {
        let targets = (0..self.target.addresses().len()).map(index).chain([EndpointIndex::UNREGISTERED]);
        let counts = targets.map(|target| self.datapath.counts(target).unwrap());
        counts.fold(EndpointCounts::default(), |sum, counts| EndpointCounts {
            seen: sum.seen + counts.seen,
            redirected: sum.redirected + counts.redirected,
            denied: sum.denied + counts.denied,
            guarded: sum.guarded + counts.guarded,
            failed_open: sum.failed_open + counts.failed_open,
            arrived: sum.arrived + counts.arrived,
            refused: sum.refused + counts.refused,
        })
    }

    /// Takes the connections that a vector made to the agent, as an agent would.
    fn hang_up(&self) {
        let Some(agent) = &self.agent else { return };
        for listener in [Some(&agent.v4), agent.v6.as_ref()].into_iter().flatten() {
            while listener.accept().is_ok() {}
        }
    }
}

fn index(n: usize) -> EndpointIndex {
    EndpointIndex::of_endpoint(n).unwrap()
}
