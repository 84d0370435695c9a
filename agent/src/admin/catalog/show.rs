//! `weir catalog show`.

use std::{collections::BTreeSet, fmt};

use super::{
    super::{
        Context, Ended, Failure,
        clean::clean,
        client,
        protocol::{CatalogAsk, CatalogEntries},
    },
    ask, diff, short,
};
use crate::guard::definitions::{Entry, Form, Said, Which};

/// Arguments of `weir catalog show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The endpoint
    endpoint: String,
    /// The tool, the prompt, or the URI template
    name: String,
}

/// Asks the agent.
///
/// # Errors
/// No agent runs, or it never saw the definition.
pub(super) fn execute(args: &ShowArgs, context: &Context) -> Result<Ended, Failure> {
    let ShowArgs { endpoint, name } = args;
    let which = Which { name: Some(name.clone()), fingerprint: None };
    let asked = CatalogAsk { endpoint: endpoint.clone(), which };
    let shown = ask(context, async |socket| client::catalog_entries(socket, &asked).await)?;
    context.print(&shown)?;
    Ok(Ended::Done)
}

impl fmt::Display for CatalogEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.entries.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "\n\n" })?;
            show(entry, f)?;
        }
        Ok(())
    }
}

fn show(entry: &Entry, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Entry { item, server, name, first_seen, trusted, offered } = entry;
    write!(f, "{} {} at {}, first seen {first_seen:.0}", item.as_str(), clean(name), clean(server))?;
    for Form { fingerprint, seen, .. } in trusted {
        write!(f, "\ntrusted  {fingerprint}  seen {seen:.0}")?;
    }
    let Some(offered) = offered else {
        return trusted.first().map_or(Ok(()), |form| whole(form, f));
    };
    write!(f, "\noffered  {}  seen {:.0}, not accepted", offered.fingerprint, offered.seen)?;
    match trusted.first() {
        Some(trusted) => differences(trusted, offered, f)?,
        None => whole(offered, f)?,
    }
    write!(
        f,
        "\n\nto trust what is offered: weir catalog accept ENDPOINT NAME --fingerprint {}",
        short(&offered.fingerprint)
    )?;
    match trusted.first() {
        Some(trusted) => {
            write!(f, "\nto stay with what was trusted: the same with --fingerprint {}", short(&trusted.fingerprint))
        }
        None => Ok(()),
    }
}

fn whole(form: &Form, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    form.members.iter().try_for_each(|(name, said)| {
        write!(f, "\n\n{}:", clean(name))?;
        diff::lines(said).iter().try_for_each(|line| write!(f, "\n    {line}"))
    })
}

fn differences(trusted: &Form, offered: &Form, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let names: BTreeSet<&String> = trusted.members.keys().chain(offered.members.keys()).collect();
    for name in names {
        let (was, is) = (trusted.members.get(name), offered.members.get(name));
        if was.map(|said| said.sha256) == is.map(|said| said.sha256) {
            continue;
        }
        write!(f, "\n\n{}:", clean(name))?;
        let lines = |said: Option<&Said>| said.map(diff::lines).unwrap_or_default();
        let compared = diff::compare(&lines(was), &lines(is));
        if compared.iter().all(diff::Line::is_same) {
            write!(f, "\n    (differs in what is masked, or beyond what is kept)")?;
        }
        compared.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
    }
    Ok(())
}
