//! The connection to a service of AWS: region, credentials, time, and what its errors mean.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_config::{Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::{DateTime, date_time::Format, error::metadata::ProvideErrorMetadata};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an answer to a request of 5 MiB.
const ATTEMPT: Duration = Duration::from_secs(60);
/// A clock is not corrected by less: signatures are valid for minutes.
const SKEW: i64 = 60;

/// Prepares clients that agree on what time it is.
#[derive(Debug)]
pub(in crate::audit) struct Connector {
    /// The table of the configuration that says where, for errors.
    table: &'static str,
    region: Option<Region>,
    endpoint_url: Option<String>,
    clock: Clock,
}

impl Connector {
    pub(in crate::audit) fn new(table: &'static str, region: Option<&str>, endpoint_url: Option<&str>) -> Self {
        let region = region.map(|region| Region::new(region.to_owned()));
        Self { table, region, endpoint_url: endpoint_url.map(str::to_owned), clock: Clock::default() }
    }

    /// What a client is made from, with the credentials that the environment, the profile, the pod or the instance has now.
    ///
    /// # Errors
    /// Without a region.
    pub(in crate::audit) async fn prepare(&self) -> Result<SdkConfig, String> {
        let mut loader = aws_config::from_env().time_source(self.clock.clone());
        if let Some(region) = &self.region {
            loader = loader.region(region.clone());
        }
        let shared = loader.load().await;
        if shared.region().is_none() {
            return Err(format!("no region is known: set `{}.region`", self.table));
        }
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
        // Retrying is the driver's, which knows what is worth sending again.
        let builder = shared.into_builder().retry_config(RetryConfig::disabled()).timeout_config(timeouts);
        Ok(match &self.endpoint_url {
            Some(url) => builder.endpoint_url(url),
            None => builder,
        }
        .build())
    }

    /// When the service refused a request for its time, takes over the service's. True when that was it.
    pub(in crate::audit) fn corrects_clock<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> bool {
        let code = code(error).unwrap_or_default();
        if !matches!(
            code,
            "RequestTimeTooSkewed" | "RequestExpired" | "InvalidSignatureException" | "SignatureDoesNotMatch"
        ) {
            return false;
        }
        let Some(skew) = error.raw_response().and_then(|response| skew(response, self.clock.offset())) else {
            return false;
        };
        tracing::warn!(seconds = skew, "the host's clock is not the service's: requests are signed with the service's");
        self.clock.set(skew);
        true
    }
}

/// How far the service's clock is ahead of the host's, when that differs from `known` by more than is tolerated.
fn skew(response: &HttpResponse, known: i64) -> Option<i64> {
    let theirs = DateTime::from_str(response.headers().get("date")?, Format::HttpDate).ok()?.secs();
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs().cast_signed();
    let skew = theirs - ours;
    (skew.abs_diff(known) > SKEW.unsigned_abs()).then_some(skew)
}

/// The host's clock, corrected by some seconds.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<AtomicI64>);

impl Clock {
    fn offset(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl aws_smithy_async::time::TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let offset = self.offset();
        let by = Duration::from_secs(offset.unsigned_abs());
        let now = SystemTime::now();
        if offset < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }
}

/// The service's name for what went wrong.
pub(in crate::audit) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Whether it asks for less.
pub(in crate::audit) fn is_throttle(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "ProvisionedThroughputExceededException"
                | "KMSThrottlingException"
                | "LimitExceededException"
                | "ThrottlingException"
                | "Throttling"
                | "RequestLimitExceeded"
                | "SlowDown"
        )
    )
}

/// Whether the service refused the request itself: who asks, or for what.
pub(in crate::audit) fn is_refusal<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_none_or(|response| response.status().is_client_error())
}

/// An error for people. Of the service's own words the first line: some go on to quote what was signed, session tokens
/// included.
pub(in crate::audit) fn describe<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: &SdkError<E, HttpResponse>,
) -> String {
    match error.as_service_error().and_then(|service| Some((service.code()?, service.message()))) {
        Some((code, message)) => {
            let first = message.and_then(|message| message.lines().next());
            format!("{code}: {}", first.unwrap_or("no message"))
        }
        None => {
            let status = error.raw_response().map(|response| format!("HTTP {}: ", response.status()));
            format!("{}{}", status.unwrap_or_default(), causes(error))
        }
    }
}

/// The chain of causes, without the debugging output that the SDK would add.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::{error::ErrorMetadata, operation::put_records::PutRecordsError};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    #[test]
    fn what_a_service_quotes_of_a_request_is_not_repeated() {
        let message = "The request signature we calculated does not match the signature you provided.\n\nThe Canonical \
                       String for this request should have been\n'POST\n/\n\nx-amz-security-token:FwoGZXIvYXdzE'";
        let metadata = ErrorMetadata::builder().code("InvalidSignatureException").message(message).build();
        let response = HttpResponse::new(400.try_into().expect("a status"), SdkBody::empty());
        let said = describe(&SdkError::service_error(PutRecordsError::generic(metadata), response));
        assert!(said.starts_with("InvalidSignatureException: The request signature we calculated"), "{said}");
        assert!(!said.contains("FwoGZXIvYXdzE") && !said.contains('\n'), "{said}");
    }
}
