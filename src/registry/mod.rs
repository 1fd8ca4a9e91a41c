//! A server's durable set of records, with history.
