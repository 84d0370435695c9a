//! A server of the Rust SDK, stateless, that tells what its tools are called with.
//!
//! usage: `server --port N --log FILE`

use std::{env, error::Error, fs::File, io::Write, net::Ipv6Addr, sync::Arc};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{CallToolRequestParams, CallToolResponse, CallToolResult, ServerCapabilities, ServerConfig},
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Whole numbers by their digits, others by the bytes of their double, strings with `s` before them, as
/// `differential/canonical.py` has it.
fn told(value: &Value) -> Value {
    match value {
        Value::Number(number) if !number.is_f64() => format!("i{number}").into(),
        Value::Number(number) => match number.as_f64().unwrap_or(f64::NAN) {
            // Adding 0 makes 0 of -0.
            whole if whole.fract() == 0.0 => format!("i{:.0}", whole + 0.0).into(),
            other => format!("n{:016x}", other.to_bits()).into(),
        },
        Value::String(text) => format!("s{text}").into(),
        Value::Array(values) => values.iter().map(told).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), told(value))).collect(),
        other => other.clone(),
    }
}

#[derive(Clone)]
struct Reader {
    log: Arc<File>,
}

impl ServerHandler for Reader {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.map_or(Value::Null, |members| told(&Value::Object(members)));
        let line = json!({ "tool": told(&request.name.into()), "arguments": arguments });
        writeln!(&*self.log, "{line}").map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(CallToolResult::success(Vec::new()).into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [_, port, _, log] = env::args().skip(1).collect::<Vec<_>>().try_into().expect("--port N --log FILE");
    let reader = Reader { log: Arc::new(File::options().append(true).create(true).open(log)?) };
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .disable_allowed_hosts();
    let service =
        StreamableHttpService::new(move || Ok(reader.clone()), Arc::new(LocalSessionManager::default()), config);
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port.parse()?)).await?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
