//! The services that SDKs fetch AWS credentials from, as the agent answers them to workloads that opted in: with placeholders, and
//! with nothing else that the real ones know. The connection comes from the kernel like any registered one, so the workload is known,
//! and the real services do not see it.
//!
//! | address | service | answers |
//! |---|---|---|
//! | `169.254.169.254`, `fd00:ec2::254` | EC2's instance metadata, version 2 | token, role, its credentials, region |
//! | `169.254.170.2` | the ECS agent | `/v2/credentials…` |
//! | `169.254.170.23`, `fd00:ec2::23` | EKS Pod Identity | `/v1/credentials` |

mod desk;

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::TcpStream;

use self::desk::Desk;
use super::{
    Shared,
    flow::{Ending, FlowContext, reset},
    splice,
    stream::AppStream,
    unregistered,
};
use crate::{
    audit::event::FlowEnd,
    config::{OtherWorkloads, TcpScope},
    credentials::{Placeholders, Standing},
};

/// All of them listen here.
const PORT: u16 = 80;

/// The name under which connections to them are tallied. No endpoint can have it.
pub(super) const TALLY: &str = "*metadata";

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Instance,
    Tasks,
    Pods,
}

/// Where they are (EC2 User Guide, "Instance metadata"; ECS Developer Guide, "Task IAM role"; EKS User Guide, "Pod Identity agent").
const SERVICES: [(IpAddr, Service); 5] = [
    (IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), Service::Instance),
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), Service::Instance),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)), Service::Tasks),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)), Service::Pods),
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)), Service::Pods),
];

/// Their addresses.
pub(super) fn addresses() -> impl Iterator<Item = SocketAddr> {
    SERVICES.iter().map(|(ip, _)| SocketAddr::new(*ip, PORT))
}

/// Serves a flow, if it goes to one of them and there are placeholders to give.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    stream: TcpStream,
) -> Result<Ending, TcpStream> {
    let Some(placeholders) = &shared.placeholders else { return Err(stream) };
    let at = |(ip, _): &&(IpAddr, Service)| SocketAddr::new(*ip, PORT) == flow.dst.0;
    let Some((_, service)) = SERVICES.iter().find(at) else { return Err(stream) };
    Ok(match (placeholders.standing(&flow.workload), placeholders.config().others) {
        (Standing::OptedIn, _) => answer(shared, flow, stream, placeholders, *service).await,
        (Standing::Out, OtherWorkloads::Pass) if shared.config.intercept.tcp == TcpScope::All => {
            unregistered::serve(shared, flow, stream).await
        }
        (Standing::Out, OtherWorkloads::Pass) => {
            splice::run(shared, flow, stream, Bytes::new()).await.into_ending("opaque", None)
        }
        (Standing::Out, OtherWorkloads::Deny) => {
            reset(stream);
            Ending::refused("opaque", "the workload is not to have the host's credentials (placeholder.others)".into())
        }
        (Standing::Unknown, _) => {
            reset(stream);
            let reason =
                "whether the workload has opted in is not known yet (placeholder.workloads): it is refused until then";
            Ending::refused("opaque", reason.into())
        }
    })
}

async fn answer(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    stream: TcpStream,
    placeholders: &Arc<Placeholders>,
    service: Service,
) -> Ending {
    let desk = Desk { service, workload: &flow.workload, placeholders };
    let (answered, given) = (AtomicU64::new(0), AtomicU64::new(0));
    let respond = service_fn(|request: hyper::Request<_>| {
        let (head, _): (_, hyper::body::Incoming) = request.into_parts();
        let answer = desk.answer(&head, Timestamp::now());
        answered.fetch_add(1, Ordering::Relaxed);
        given.fetch_add(u64::from(answer.gives_placeholder), Ordering::Relaxed);
        async move { Ok::<_, Infallible>(answer.response.map(Full::new)) }
    });
    let limits = &shared.config.limits;
    let stream = AppStream::new(Bytes::new(), stream, Arc::clone(&flow.traffic));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        .max_buf_size(limits.header_bytes.max(8192))
        .serve_connection(TokioIo::new(stream), respond);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.drain.started() => {
            connection.as_mut().graceful_shutdown();
            shared.drain.bound(connection).await.unwrap_or(Ok(()))
        }
    };
    let broke = ended.err().map(|error| format!("; then {error}")).unwrap_or_default();
    let (answered, given) = (answered.into_inner(), given.into_inner());
    let told = format!(
        "the agent answered in the place of the metadata service: {answered} requests, {given} placeholders{broke}"
    );
    Ending { end: FlowEnd::Closed, reason: Some(told), protocol: "http", endpoint: None, hostname: None, shadow: None }
}
