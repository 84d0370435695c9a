//! Shipping at length: `shipping soak <records> <kills>` is the long run, `shipping bench` measures, `shipping write` is the
//! writer that both start, `shipping verify` the reader.

use std::{env, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use weir_tests::shipping::{
    bench,
    soak::{self, Plan, Service},
    verifier,
    writer::{self, Work},
};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize| -> Result<u64> { Ok(arguments.get(index).context("a number is missing")?.parse()?) };
    let dir = || tempfile::tempdir().context("cannot make a directory");
    match arguments.first().map(String::as_str) {
        Some("write") => {
            let config = PathBuf::from(arguments.get(1).context("name a configuration")?);
            writer::run(&config, Work { records: number(2)?, rate: number(3)? })
        }
        Some("verify") => verifier::run(&PathBuf::from(arguments.get(1).context("name a configuration")?)),
        Some("soak") => {
            let dir = dir()?;
            let plan = Plan {
                service: Service::Ferrokinesis,
                records: number(1)?,
                rate: 0,
                faults: 150,
                kills: number(2)?,
                outage: Duration::from_secs(20),
                program: env::current_exe()?,
                dir: dir.path().to_owned(),
            };
            println!("{:#}", soak::run(&plan));
            Ok(())
        }
        Some("bench") => bench::run(dir()?.path(), &env::current_exe()?),
        _ => bail!("use: shipping soak <records> <kills> | bench | write <config> <records> <rate> | verify <config>"),
    }
}
