//! A stream, read back from every shard, and what it proves.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    operation::get_records::GetRecordsError,
    primitives::Blob,
    types::{Shard, ShardIteratorType},
};
use tokio::runtime::Runtime;
use weir::audit::chain::{Hash, Line};

use crate::fixture::{Record, Records, eventually};

/// An access key id and its secret.
pub const KEYS: (&str, &str) = ("AKIAWEIRTEST", "wJalrXUtnFEMI");

/// A stream on an emulator.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    runtime: Runtime,
    name: String,
}

impl Stream {
    /// Makes the stream `name`.
    ///
    /// # Panics
    ///
    /// When the emulator does not.
    #[must_use]
    pub fn create(url: &str, name: &str, shards: i32, keys: (&str, &str)) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(url)
            .credentials_provider(Credentials::new(keys.0, keys.1, None, None, "test"))
            .build();
        let stream = Self { client: Client::from_conf(config), runtime, name: name.to_owned() };
        let create = stream.client.create_stream().stream_name(name).shard_count(shards).send();
        stream.runtime.block_on(create).expect("create a stream");
        eventually("the stream is active", || {
            let asked = stream.client.describe_stream_summary().stream_name(name).send();
            let answer = stream.runtime.block_on(asked).ok()?;
            (answer.stream_description_summary()?.stream_status().as_str() == "ACTIVE").then_some(())
        });
        stream
    }

    fn shards(&self) -> Vec<Shard> {
        let asked = self.client.list_shards().stream_name(&self.name).max_results(1000).send();
        self.runtime.block_on(asked).expect("list shards").shards.unwrap_or_default()
    }

    /// The shards that take records, in the order of their keys, each with the first and the last.
    fn open_shards(&self) -> Vec<(String, u128, u128)> {
        let is_open =
            |shard: &Shard| shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none());
        let bound = |text: &str| text.parse::<u128>().expect("a hash key");
        let open = self.shards().into_iter().filter(is_open).map(|shard| {
            let range = shard.hash_key_range().expect("its range");
            let (low, high) = (bound(range.starting_hash_key()), bound(range.ending_hash_key()));
            (shard.shard_id, low, high)
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|(_, low, _)| *low);
        open
    }

    /// Merges the last two open shards into one.
    ///
    /// # Panics
    ///
    /// When the emulator does not.
    pub fn merge_two_shards(&self) {
        let open = self.open_shards();
        let [.., (one, ..), (other, ..)] = &open[..] else { panic!("one shard: {open:?}") };
        let merge = self.client.merge_shards().stream_name(&self.name).shard_to_merge(one);
        let merge = merge.adjacent_shard_to_merge(other);
        // Refused while the stream still changes.
        eventually("two shards are merged", || self.runtime.block_on(merge.clone().send()).ok());
    }

    /// Splits the first open shard in two halves.
    ///
    /// # Panics
    ///
    /// When the emulator does not.
    pub fn split_a_shard(&self) {
        let (shard, low, high) = self.open_shards().into_iter().next().expect("an open shard");
        let split = self.client.split_shard().stream_name(&self.name).shard_to_split(shard);
        let middle = (low + (high - low) / 2 + 1).to_string();
        let split = split.new_starting_hash_key(middle);
        eventually("a shard is split", || self.runtime.block_on(split.clone().send()).ok());
    }

    /// Stores one record, in any shard.
    ///
    /// # Panics
    ///
    /// When the emulator does not.
    pub fn put(&self, data: &[u8]) {
        let key = uuid::Uuid::new_v4().to_string();
        let put = self.client.put_record().stream_name(&self.name).partition_key(key).data(Blob::new(data));
        self.runtime.block_on(put.send()).expect("store a record");
    }

    /// Reads every shard from its beginning, and checks every line by itself.
    ///
    /// # Panics
    ///
    /// When something that arrived is not a record, or there are two records of one number.
    #[must_use]
    pub fn read(&self) -> Arrived {
        let mut arrived = Arrived::default();
        self.each(|data| {
            arrived.kinesis_records += 1;
            data.split_inclusive(|byte| *byte == b'\n').for_each(|line| arrived.add(line));
        });
        arrived
    }

    /// Reads every shard from its beginning: what a consumer makes of the records, each once, in their order.
    ///
    /// # Panics
    ///
    /// When something that arrived is not a record.
    #[must_use]
    pub fn records(&self) -> Records {
        let mut lines = BTreeMap::new();
        self.each(|data| {
            for line in String::from_utf8(data.to_vec()).expect("text").lines() {
                let value: serde_json::Value = serde_json::from_str(line).expect("a record");
                let key = (value["log"].to_string(), value["seq"].as_u64());
                lines.insert(key, Record { line: line.to_owned(), value });
            }
        });
        Records(lines.into_values().collect())
    }

    fn each(&self, mut take: impl FnMut(&[u8])) {
        for shard in self.shards() {
            self.runtime.block_on(self.read_shard(shard.shard_id(), &mut take));
        }
    }

    async fn read_shard(&self, shard: &str, take: &mut impl FnMut(&[u8])) {
        let oldest = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let oldest = oldest.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.expect("an iterator");
        let mut next = oldest.shard_iterator;
        while let Some(iterator) = next {
            let got = match self.client.get_records().shard_iterator(&iterator).limit(10_000).send().await {
                Ok(got) => got,
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(GetRecordsError::is_provisioned_throughput_exceeded_exception) =>
                {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    next = Some(iterator);
                    continue;
                }
                Err(error) => panic!("cannot read {shard}: {error:?}"),
            };
            got.records().iter().for_each(|record| take(record.data().as_ref()));
            let at_end = got.records().is_empty() && got.millis_behind_latest().unwrap_or(0) == 0;
            next = got.next_shard_iterator.filter(|_| !at_end);
        }
    }
}

/// What a reader holds, by log and seq.
#[derive(Debug, Default)]
pub struct Arrived {
    logs: HashMap<String, BTreeMap<u64, (Hash, Hash)>>,
    /// Lines that came more than once.
    pub repeated: u64,
    /// Kinesis records, each with one line or more.
    pub kinesis_records: u64,
}

impl Arrived {
    /// Takes one line.
    ///
    /// # Panics
    ///
    /// When it is not a record, or another than came before under its number.
    pub fn add(&mut self, line: &[u8]) {
        let line = Line::parse(line).expect("a line of a log");
        assert_eq!(line.computed_hash(), line.hash, "record {} was altered", line.seq);
        let log = self.logs.entry(line.log.to_owned()).or_default();
        if let Some(before) = log.insert(line.seq, (line.prev, line.hash)) {
            assert_eq!(before, (line.prev, line.hash), "two records {}", line.seq);
            self.repeated += 1;
        }
    }

    /// How many different records there are.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.logs.values().map(|log| log.len() as u64).sum()
    }

    /// Every record from the first to `seq`, which has `hash`, is there, each linked to the one before.
    ///
    /// # Panics
    ///
    /// When not.
    pub fn is_whole(&self, log: &str, seq: u64, hash: Hash) {
        let records = self.logs.get(log).unwrap_or_else(|| panic!("nothing of log {log} arrived"));
        let mut last = (0, Hash::ZERO);
        for (found, (prev, hash)) in records {
            assert_eq!((*found, *prev), (last.0 + 1, last.1), "a gap after record {}", last.0);
            last = (*found, *hash);
        }
        assert_eq!(last, (seq, hash), "the stream ends elsewhere than the log");
    }
}
