//! What the instance says of itself: the metadata service's instance identity document.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Instance;

/// Longest wait for the whole conversation.
const PATIENCE: Duration = Duration::from_secs(3);

/// An EC2 instance. Serialises as `event.lifecycle.instance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its id, `i-…`.
    #[serde(rename(deserialize = "instanceId"))]
    pub instance_id: String,
    /// The account that it belongs to.
    #[serde(rename(deserialize = "accountId"))]
    pub account: String,
    /// Its region.
    pub region: String,
    /// Its availability zone.
    #[serde(rename(deserialize = "availabilityZone"))]
    pub zone: String,
    /// The image that it was started from.
    #[serde(rename(deserialize = "imageId"))]
    pub ami: String,
}

/// Asks the instance metadata service, with a session token (its version 2). None, and a warning, where it does not answer: what is
/// not known is not recorded.
pub async fn host_facts(config: &Instance) -> Option<HostFacts> {
    let ask = async {
        let client = aws_config::imds::Client::builder()
            .endpoint(config.imds.as_str())
            .map_err(|error| error.to_string())?
            .connect_timeout(Duration::from_secs(1))
            .read_timeout(Duration::from_secs(1))
            .max_attempts(2)
            .build();
        let document = client.get("/latest/dynamic/instance-identity/document").await;
        let document =
            document.map_err(|error| aws_smithy_types::error::display::DisplayErrorContext(error).to_string())?;
        serde_json::from_str::<HostFacts>(document.as_ref()).map_err(|error| error.to_string())
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(facts)) => Some(facts),
        Ok(Err(error)) => {
            tracing::warn!(error, "the instance metadata service does not say what instance this is");
            None
        }
        Err(_) => {
            tracing::warn!("the instance metadata service does not answer in {} s", PATIENCE.as_secs());
            None
        }
    }
}
