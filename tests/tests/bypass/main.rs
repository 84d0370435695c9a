//! The bypass suite: ways past the hooks, one small program for each, tried from the host and from a container, as root and
//! as an ordinary user. None may get anything to the target; each is intercepted, denied or guarded, as its line says. Once
//! the agent is the programs, as they are steered here; once it is the whole agent, alive and killed. Needs root.
//!
//! In the lines "all TCP" nobody has registered the target, and `tcp = "all"`; in all others it is registered, which comes to the
//! same in both modes: for every network, or in the lines "learnt" for the vectors' own alone.
//!
//! Every program is first run out of scope, where it must reach the target: a vector that gets nowhere by itself would
//! prove nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod arena;
mod cell;
mod place;
mod table;
mod target;
mod vectors;
mod whole;
mod wire;

use crate::{
    arena::{Arena, Verdict},
    place::Place,
    table::Table,
    vectors::{User, all, raw},
};

#[test]
fn there_is_no_way_around_from_the_host() {
    there_is_no_way_around(Place::Host);
}

#[test]
fn there_is_no_way_around_from_a_container() {
    there_is_no_way_around(Place::Container);
}

fn there_is_no_way_around(place: Place) {
    let mut arena = Arena::new(&format!("bypass-{place}"), place);
    let mut table = Table::new(place);
    for vector in all() {
        for user in User::ALL {
            table.note_control(&vector, user, arena.try_out_of_scope(&vector, user));
            table.note("agent up", &vector, user, vector.expected, arena.try_in_scope(&vector, user));
        }
    }

    arena.datapath.set_allow_raw(true).unwrap();
    for vector in raw() {
        for user in User::ALL {
            table.note("raw allowed", &vector, user, Verdict::Guarded, arena.try_in_scope(&vector, user));
        }
    }
    arena.datapath.set_allow_raw(false).unwrap();

    // From here on as root only where it comes to the same: whoever has privileges cannot do less than others.
    arena.take_all_and_forget_the_target();
    for vector in all() {
        table.note(
            "all TCP",
            &vector,
            User::Root,
            vector.expected_where_all_is_taken(),
            arena.try_in_scope(&vector, User::Root),
        );
    }

    // What only its own network knows is registered like anything else.
    arena.learn_the_target();
    for vector in all() {
        table.note("learnt", &vector, User::Root, vector.expected, arena.try_in_scope(&vector, User::Root));
    }
    arena.datapath.set_allow_raw(true).unwrap();
    for vector in raw() {
        table.note("raw, learnt", &vector, User::Root, Verdict::Guarded, arena.try_in_scope(&vector, User::Root));
    }
    arena.datapath.set_allow_raw(false).unwrap();
    arena.take_registered();

    // Whoever would be intercepted is denied; nothing else changes.
    arena.kill_agent();
    for vector in all() {
        for user in User::ALL {
            let expected = if vector.expected == Verdict::Intercepted { Verdict::Denied } else { vector.expected };
            table.note("agent down", &vector, user, expected, arena.try_in_scope(&vector, user));
        }
    }

    println!("{table}");
    let failures = table.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let counts = arena.counts();
    assert_eq!(counts.seen, counts.redirected + counts.denied + counts.guarded + counts.failed_open);
}
