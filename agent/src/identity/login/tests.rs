use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::{
    datapath::CgroupId,
    identity::{Process, WorkloadKind},
};

fn workload(audit_session: Option<u32>, unit: &str) -> Workload {
    Workload {
        kind: WorkloadKind::User,
        id: "user/1000".into(),
        name: "user/1000".into(),
        cgroup: None,
        cgroup_id: CgroupId(1),
        unit: Some(unit.into()),
        container: None,
        spiffe_id: None,
        pod: None,
        process: Process { pid: 1, uid: 1000, comm: "sh".into(), exe: None, started_ns: None, audit_session },
    }
}

fn binding(workload: &Workload, holds: SignedDuration) -> Binding {
    let caller = Caller { sub: "jane".into(), issuer: "https://idp.test".into(), groups: Vec::new() };
    let asked = Asked { uid: 1000, login_uid: Some(1000), workload: Some(workload.clone()) };
    Binding { caller: Arc::new(caller), until: Timestamp::now() + holds, asked: Arc::new(asked) }
}

#[test]
fn a_login_is_of_one_audit_session_in_one_place() {
    let logins = Logins::default();
    let own = workload(Some(3), "session-3.scope");
    let session = Session::of(&own).unwrap();
    assert!(logins.caller_of(&own).is_none());
    assert!(logins.bind(session.clone(), binding(&own, SignedDuration::from_hours(1))));
    assert_eq!(logins.caller_of(&own).unwrap().sub, "jane");
    for other in [
        workload(Some(4), "session-3.scope"),
        workload(Some(3), "session-4.scope"),
        workload(None, "session-3.scope"),
        Workload { id: "user/1001".into(), ..own.clone() },
    ] {
        assert!(logins.caller_of(&other).is_none(), "{other:?}");
    }
    assert!(logins.unbind(&session).is_some());
    assert!(logins.caller_of(&own).is_none() && logins.unbind(&session).is_none());
}

#[test]
fn a_login_ends_with_its_time_and_is_swept_once() {
    let logins = Logins::default();
    let own = workload(Some(3), "session-3.scope");
    assert!(logins.bind(Session::of(&own).unwrap(), binding(&own, SignedDuration::from_millis(20))));
    assert!(logins.caller_of(&own).is_some());
    std::thread::sleep(Duration::from_millis(40));
    assert!(logins.caller_of(&own).is_none(), "whether it was swept or not");
    assert_eq!((logins.expire().len(), logins.expire().len()), (1, 0));
}
