//! `weir check`: whether the configuration is valid, and what it intercepts.

use std::{fmt, os::unix::fs::MetadataExt, path::Path};

use serde::Serialize;

use super::{Context, Ended, Failure};
use crate::{
    config::{
        Config, ConfigError, Endpoint, Endpoints, Intercept, OtherPaths, Problem, Stance, TcpScope, Unregistered,
        load_with_files,
    },
    mask::Masks,
    policy::Policies,
};

/// Arguments of `weir check`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command. A configuration that is wrong is a failure with exit code 2; with `--json` its problems are also
/// printed as data.
///
/// # Errors
/// The configuration cannot be read or is wrong.
pub fn execute(_args: &Args, context: &Context) -> Result<Ended, Failure> {
    let config = match load_with_files(&context.config) {
        Ok(config) => config,
        Err(error) => {
            if context.json {
                context.print(&Invalid::of(&context.config, &error))?;
            }
            return Err(error.into());
        }
    };
    let policies = build(&config)?;
    context.print(&Report::of(&context.config, &config, &policies))?;
    Ok(Ended::Done)
}

/// Builds what `run` builds from the configuration alone, so that what cannot be built is known before.
fn build(config: &Config) -> Result<Policies, Failure> {
    Endpoints::new(&config.endpoints).map_err(|error| Failure::Usage(error.to_string()))?;
    Masks::compile(&config.masks).map_err(|error| Failure::Usage(error.to_string()))?;
    Policies::load(&config.policy).map_err(|error| Failure::Usage(error.to_string()))
}

#[derive(Serialize)]
struct Invalid<'c> {
    config: &'c Path,
    valid: bool,
    error: String,
    problems: &'c [Problem],
}

impl<'c> Invalid<'c> {
    fn of(path: &'c Path, error: &'c ConfigError) -> Self {
        let problems = match error {
            ConfigError::Invalid { problems, .. } => problems.as_slice(),
            ConfigError::Unreadable { .. } | ConfigError::TooLarge { .. } => &[],
        };
        Self { config: path, valid: false, error: error.to_string(), problems }
    }
}

impl fmt::Display for Invalid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)
    }
}

#[derive(Serialize)]
struct Report<'c> {
    config: &'c Path,
    valid: bool,
    intercept: &'c Intercept,
    endpoints: &'c [Endpoint],
    masks: usize,
    policies: usize,
    policy_default: Stance,
    policy_version: String,
    warnings: Vec<String>,
}

impl<'c> Report<'c> {
    fn of(path: &'c Path, config: &'c Config, policies: &Policies) -> Self {
        Self {
            policies: policies.len(),
            policy_default: config.policy.default,
            policy_version: policies.version().to_string(),
            config: path,
            valid: true,
            intercept: &config.intercept,
            endpoints: &config.endpoints,
            masks: config.masks.len(),
            warnings: warnings(path, config),
        }
    }
}

fn warnings(path: &Path, config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if std::fs::metadata(path).is_ok_and(|file| file.mode() & 0o022 != 0) {
        warnings.push(format!("others than the owner can change {0}: chmod go-w {0}", path.display()));
    }
    let takes_all = config.intercept.tcp == TcpScope::All;
    if config.endpoints.is_empty() && !takes_all {
        warnings.push("no endpoint is registered: nothing is intercepted".into());
    }
    warnings
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, valid: _, intercept, endpoints, masks, policies, policy_default, policy_version, warnings } =
            self;
        writeln!(f, "{}: valid", config.display())?;
        write!(f, "scope: connections from cgroups {}", intercept.cgroups.join(", "))?;
        if !intercept.exclude.is_empty() {
            write!(f, " except {}", intercept.exclude.join(", "))?;
        }
        if intercept.tcp == TcpScope::All {
            let unregistered = match intercept.unregistered {
                Unregistered::Allow => "passed through",
                Unregistered::Deny => "refused",
                Unregistered::DenyMcp => "passed through, except MCP in clear text",
            };
            write!(f, "\n       to every TCP destination; those of no endpoint are {unregistered}")?;
        }
        for endpoint in *endpoints {
            write!(f, "\n\nendpoint {}", endpoint.name)?;
            write!(f, "\n  hosts  {}", endpoint.hosts.join(", "))?;
            let ports: Vec<String> = endpoint.ports.iter().map(u16::to_string).collect();
            write!(f, "\n  ports  {}", ports.join(", "))?;
            write!(f, "\n  paths  {}", paths(endpoint))?;
            if let Some(ca) = &endpoint.upstream_ca {
                write!(f, "\n  upstream verified by the system's roots and {}", ca.display())?;
            }
        }
        write!(f, "\n\nmasks: {masks}\npolicies: {policies}, default {}", policy_default.as_str())?;
        if *policies > 0 {
            write!(f, ", version {policy_version}")?;
        }
        for warning in warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

fn paths(endpoint: &Endpoint) -> String {
    if endpoint.paths.is_empty() {
        return "every path".into();
    }
    let others = match endpoint.other_paths {
        OtherPaths::Pass => "others pass unread",
        OtherPaths::Deny => "others are refused",
    };
    format!("{} ({others})", endpoint.paths.join(", "))
}
