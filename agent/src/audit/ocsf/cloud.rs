//! The instance, as OCSF's profiles `cloud` and `host` have it.

use serde::Serialize;

use crate::identity::HostFacts;

/// `event.cloud`.
#[derive(Debug, Serialize)]
pub(super) struct Cloud<'a> {
    provider: &'static str,
    region: &'a str,
    zone: &'a str,
    account: Account<'a>,
}

#[derive(Debug, Serialize)]
struct Account<'a> {
    uid: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    type_id: u32,
}

/// `event.device`.
#[derive(Debug, Serialize)]
pub(super) struct Device<'a> {
    type_id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    instance_uid: &'a str,
    region: &'a str,
    image: Image<'a>,
}

#[derive(Debug, Serialize)]
struct Image<'a> {
    uid: &'a str,
}

impl<'a> Cloud<'a> {
    pub(super) fn of(facts: &'a HostFacts) -> Self {
        let HostFacts { account, region, zone, .. } = facts;
        // 10 is AWS Account.
        Self { provider: "AWS", region, zone, account: Account { uid: account, kind: "AWS Account", type_id: 10 } }
    }
}

impl<'a> Device<'a> {
    pub(super) fn of(facts: &'a HostFacts) -> Self {
        let HostFacts { instance_id, region, ami, .. } = facts;
        // 6 is Virtual.
        Self { type_id: 6, kind: "Virtual", instance_uid: instance_id, region, image: Image { uid: ami } }
    }
}
