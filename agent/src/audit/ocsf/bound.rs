//! Keeps what peers choose within bounds, so that every event fits a line, and keeps query values out.

use serde_json::value::to_raw_value;

use super::super::{
    event::{Agent, Call, Flow, Http, HttpRequest, Life, Mcp, Route, Verdict, What},
    payload::Payload,
};

/// Longest text besides payloads, in bytes.
const TEXT: usize = 2 << 10;

/// Most bytes of the notifications kept with a response.
const KEPT_EVENTS: usize = 64 << 10;

/// Cuts what is too long, in place. True when something was cut here or had been cut before.
pub(super) fn bound(what: &mut What) -> bool {
    let mut bounds = Bounds { cut: false };
    match what {
        What::Call(call) => bounds.call(call),
        What::Http(http) => {
            let Http { route, request, verdict, .. } = &mut **http;
            bounds.route(route);
            bounds.request(request);
            bounds.verdict(verdict);
        }
        What::Flow(flow) => {
            let Flow { route, reason, .. } = &mut **flow;
            bounds.route(route);
            bounds.optional(reason);
        }
        What::Sighting(sighting) => bounds.route(&mut sighting.route),
        What::Agent(
            Agent::Stopped { reason }
            | Agent::Life(
                Life::KeptOn { reason }
                | Life::PoliciesRefused { reason, .. }
                | Life::Watched { detail: reason, .. }
                | Life::TookOver { version: reason, .. },
            ),
        ) => bounds.text(reason),
        What::Login(login) => bounds.optional(&mut login.reason),
        What::Agent(_) | What::Attestation(_) | What::Unfinished(_) => {}
    }
    bounds.cut
}

struct Bounds {
    cut: bool,
}

impl Bounds {
    fn text(&mut self, text: &mut String) {
        if text.len() > TEXT {
            text.truncate(text.floor_char_boundary(TEXT));
            text.push('…');
            self.cut = true;
        }
    }

    fn optional(&mut self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn route(&mut self, route: &mut Route) {
        self.optional(&mut route.hostname);
    }

    fn verdict(&mut self, verdict: &mut Verdict) {
        self.optional(&mut verdict.policy);
        self.optional(&mut verdict.version);
        self.optional(&mut verdict.reason);
    }

    fn request(&mut self, request: &mut HttpRequest) {
        request.path = without_query_values(&request.path);
        self.text(&mut request.method);
        self.text(&mut request.path);
        self.optional(&mut request.user_agent);
    }

    fn call(&mut self, call: &mut Call) {
        let Call { workload: _, caller: _, route, mcp, verdict, masked: _, credential: _, http } = call;
        self.route(route);
        self.verdict(verdict);
        self.request(http);
        self.mcp(mcp);
    }

    fn mcp(&mut self, mcp: &mut Mcp) {
        for text in [&mut mcp.method, &mut mcp.name, &mut mcp.protocol_version, &mut mcp.session_id] {
            self.optional(text);
        }
        if let Some(id) = &mut mcp.id
            && id.text().len() > TEXT
        {
            let start = &id.text()[..id.text().floor_char_boundary(TEXT)];
            mcp.id = to_raw_value(&format!("{start}…")).ok().map(Payload::cut);
        }
        if let Some(events) = &mut mcp.events {
            let mut room = KEPT_EVENTS;
            let kept = events.kept.iter().take_while(|event| {
                let fits = event.text().len() <= room;
                room = room.saturating_sub(event.text().len());
                fits
            });
            let kept = kept.count();
            events.kept.truncate(kept);
            self.cut |= (kept as u64) < events.count;
        }
        let kept = mcp.events.iter().flat_map(|events| &events.kept);
        let payloads = [&mcp.id, &mcp.params, &mcp.result, &mcp.error].into_iter().flatten().chain(kept);
        self.cut |= payloads.into_iter().any(Payload::is_truncated);
    }
}

/// A query's values can be credentials: its names stay, each value becomes `*`.
fn without_query_values(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else {
        return path.to_owned();
    };
    let names = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}=*"),
        // A lone word may be a value as well as a name.
        None if pair.is_empty() => String::new(),
        None => "*".to_owned(),
    });
    format!("{path}?{}", names.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::without_query_values;

    #[test]
    fn query_values_are_not_recorded() {
        for (path, recorded) in [
            ("/mcp", "/mcp"),
            ("/mcp?", "/mcp?"),
            ("/mcp?code=s3cret&state=x=y&flag", "/mcp?code=*&state=*&*"),
            ("/mcp?a=1?b=2", "/mcp?a=*"),
        ] {
            assert_eq!(without_query_values(path), recorded);
        }
    }
}
