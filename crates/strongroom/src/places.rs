//! Where the HSMs of a region listen: one address each, spread over three zones.
//!
//! HSM n of a region whose first one listens on 127.x.y.z has 127.x.(y + n mod 3).(z + n div 3), so
//! that each zone is a subnet. All have the same port offset: an HSM's process can reach no other
//! ports.

use std::net::{IpAddr, Ipv4Addr};

use crate::error::Error;

const ZONES: [&str; 3] = ["strongroom-1a", "strongroom-1b", "strongroom-1c"];

/// Where one HSM stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) zone: &'static str,
}

/// The place of HSM `number`, from 0, of a region whose first one listens on `first`.
///
/// # Errors
/// Where there is no such address.
pub(crate) fn place(first: IpAddr, number: usize) -> Result<Place, Error> {
    let zone = ZONES[number % ZONES.len()];
    let none = || {
        Error::Usage(format!(
            "there is no room for {} HSMs from {first} on: choose another --address of 127.0.0.0/8",
            number + 1,
        ))
    };
    match first {
        first if number == 0 => Ok(Place { address: first, zone }),
        IpAddr::V4(v4) if v4.is_loopback() => {
            let [a, b, c, d] = v4.octets();
            let add = |octet: u8, more: usize| {
                usize::from(octet).checked_add(more).and_then(|sum| u8::try_from(sum).ok())
            };
            let c = add(c, number % ZONES.len()).ok_or_else(none)?;
            let d = add(d, number / ZONES.len()).ok_or_else(none)?;
            Ok(Place { address: Ipv4Addr::new(a, b, c, d).into(), zone })
        }
        // The machine may have such an address only once.
        _ => Err(none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsms_are_spread_over_three_zones_each_on_its_own_address() {
        let first = IpAddr::from([127, 0, 1, 10]);
        let at = |number| {
            let place = place(first, number).unwrap();
            (place.address.to_string(), place.zone)
        };
        assert_eq!(at(0), ("127.0.1.10".to_owned(), "strongroom-1a"));
        assert_eq!(at(1), ("127.0.2.10".to_owned(), "strongroom-1b"));
        assert_eq!(at(2), ("127.0.3.10".to_owned(), "strongroom-1c"));
        assert_eq!(at(3), ("127.0.1.11".to_owned(), "strongroom-1a"));
        assert_eq!(at(27), ("127.0.1.19".to_owned(), "strongroom-1a"));
    }

    #[test]
    fn another_address_is_one_hsms() {
        let first = IpAddr::from([192, 168, 1, 5]);
        assert_eq!(place(first, 0).unwrap().address, first);
        assert!(place(first, 1).is_err());
    }

    #[test]
    fn there_is_no_place_beyond_the_last_address() {
        assert!(place(IpAddr::from([127, 0, 255, 10]), 1).is_err());
        assert!(place(IpAddr::from([127, 0, 1, 255]), 3).is_err());
    }
}
