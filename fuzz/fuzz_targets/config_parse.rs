//! A configuration of any bytes is accepted or refused with a report, and the report can be shown.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(report) = hereabouts::config::parse_untrusted(bytes) {
        assert!(!report.to_string().is_empty());
    }
});
