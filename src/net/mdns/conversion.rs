//! Services in the shapes of the `mdns-sd` crate, and back.

use mdns_sd::{ResolvedService, ServiceInfo};

use super::{AnnouncedService, FoundService, scoped};

/// The maximum number of pairs kept of a foreign TXT record.
const MAX_FOREIGN_PAIRS: usize = 32;

pub(super) fn domain(service: &str) -> String {
    format!("{service}.local.")
}

pub(super) fn service(shown: &AnnouncedService) -> Result<ServiceInfo, String> {
    let AnnouncedService {
        service,
        instance,
        host,
        port,
        addresses,
        text,
        probe,
    } = shown;
    let text: Vec<(&str, &str)> = text
        .iter()
        .map(|(key, value)| (key.as_ref(), value.as_ref()))
        .collect();
    let host = format!("{host}.local.");
    let info = ServiceInfo::new(
        &domain(service),
        instance,
        &host,
        &addresses[..],
        *port,
        &text[..],
    );
    let mut info = info.map_err(daemon_error)?;
    info.set_requires_probe(*probe);
    Ok(info)
}

pub(super) fn found(service: &ResolvedService, index: u32) -> FoundService {
    let addresses = service.get_addresses().iter();
    let addresses = addresses
        .map(|address| scoped(address.to_ip_addr(), service.get_port(), index))
        .collect();
    let text = service.get_properties().iter().take(MAX_FOREIGN_PAIRS);
    let text = text
        .map(|pair| (pair.key().to_owned(), pair.val_str().to_owned()))
        .collect();
    FoundService {
        name: service.get_fullname().to_owned(),
        addresses,
        text,
    }
}

pub(super) fn daemon_error(error: mdns_sd::Error) -> String {
    format!("speak multicast DNS: {error}")
}
