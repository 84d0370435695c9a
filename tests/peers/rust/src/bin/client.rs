//! A client of the Rust SDK over Streamable HTTP. The same steps and events as `e2e/told.py`.
//!
//! usage: `client <url> <steps> session|modern`

use std::{env, error::Error, path::Path, process::ExitCode, time::Duration};

use rmcp::{
    ServiceExt,
    model::{CallToolRequestParams, ProtocolVersion},
    service::{ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService, ServiceError},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};
use tokio::time::sleep;

fn tell(event: &Value) {
    println!("{event}");
}

async fn perform(client: &RunningService<RoleClient, ()>, number: usize, step: &Value) -> Result<(), ServiceError> {
    match step["do"].as_str() {
        Some("list") => {
            let tools = client.list_all_tools().await?;
            let mut names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            names.sort_unstable();
            tell(&json!({ "event": "tools", "step": number, "names": names }));
        }
        Some("call") => {
            let tool = step["name"].as_str().unwrap_or_default().to_owned();
            let arguments = step["arguments"].as_object().cloned().unwrap_or_default();
            let result = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
            let (structured, failed) = (&result.structured_content, result.is_error == Some(true));
            tell(&json!({
                "event": "result", "step": number, "content": result.content, "structured": structured, "failed": failed,
            }));
        }
        Some("wait") => {
            let once = step["once"].as_str().unwrap_or_default();
            while !Path::new(once).exists() {
                sleep(Duration::from_millis(10)).await;
            }
        }
        _ => {}
    }
    Ok(())
}

async fn run(url: String, steps: &[Value], modern: bool) -> Result<(), Box<dyn Error>> {
    let transport = StreamableHttpClientTransport::from_uri(url);
    let client = if modern {
        let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
        ().serve_with_lifecycle(transport, ClientLifecycleMode::Auto { preferred_versions, legacy_version: None }).await?
    } else {
        ().serve(transport).await?
    };
    tell(&json!({ "event": "connected" }));
    for (number, step) in steps.iter().enumerate() {
        if let Err(error) = perform(&client, number, step).await {
            tell(&json!({ "event": "error", "step": number, "kind": "ServiceError", "message": error.to_string() }));
        }
    }
    client.cancel().await?;
    tell(&json!({ "event": "closed" }));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let [url, steps, mode] = env::args().skip(1).collect::<Vec<_>>().try_into().expect("<url> <steps> session|modern");
    let steps: Vec<Value> = serde_json::from_str(&steps).expect("steps");
    match run(url, &steps, mode == "modern").await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                message += &format!(": {inner}");
                cause = inner.source();
            }
            tell(&json!({ "event": "error", "step": null, "kind": "Error", "message": message }));
            ExitCode::FAILURE
        }
    }
}
