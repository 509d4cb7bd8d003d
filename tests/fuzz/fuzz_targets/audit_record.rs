//! Any bytes as an entry of the audit log. What is read as a record is written so that it reads
//! back the same and fits a bundle, and is found by what it says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_audit::Record;
use tidegate_audit::record::MAX_ENTRY;
use tidegate_audit::search::Query;

fuzz_target!(|entry: &[u8]| {
    let Ok(record) = Record::decode(entry) else {
        assert!(Query::default().find(entry).is_none());
        return;
    };
    let written = record.encode();
    assert!(written.len() <= MAX_ENTRY);
    if entry.len() < MAX_ENTRY / 8 {
        assert_eq!(Record::decode(&written).expect("it was just written"), record);
    }
    let query = Query {
        event: Some(record.event.clone()),
        subject: record.subject.clone(),
        request_id: record.request_id.clone(),
        reason: record.reason.clone(),
        kind: Some(record.kind),
        from: Some(record.time.clone()),
        ..Query::default()
    };
    assert!(query.matches(&record));
    if entry.len() < MAX_ENTRY / 8 {
        assert!(query.find(&written).is_some());
    }
});
