//! Recovery of a data key from the shares of several key groups: Shamir's secret sharing over GF(256), in the form that
//! Vault and sops write (a share is its bytes, then its x coordinate).

use zeroize::Zeroizing;

use crate::value::{DataKey, KEY};

/// Returns the data key, or `None` if the shares are malformed or repeated. Too few shares give a wrong key, which no
/// value matches.
#[must_use]
pub fn combine(shares: &[Zeroizing<Vec<u8>>]) -> Option<DataKey> {
    let mut points: Vec<u8> = shares.iter().filter_map(|share| share.get(KEY)).copied().collect();
    let well_formed = shares.iter().all(|share| share.len() == KEY + 1);
    points.sort_unstable();
    points.dedup();
    if shares.len() < 2 || !well_formed || points.len() != shares.len() {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY]);
    for share in shares {
        let weight = weight(share[KEY], &points);
        for (byte, part) in key.iter_mut().zip(share.iter()) {
            *byte ^= multiply(*part, weight);
        }
    }
    Some(key)
}

/// Returns the value at zero of the polynomial that is one at `x` and zero at the other points.
fn weight(x: u8, points: &[u8]) -> u8 {
    let others = points.iter().filter(|other| **other != x);
    others.fold(1, |product, other| multiply(product, multiply(*other, inverse(x ^ other))))
}

/// Multiplies in the field of AES.
const fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0;
    let mut bit = 8;
    while bit > 0 {
        bit -= 1;
        let carry = (product >> 7) * 0x1b;
        product = (product << 1) ^ carry ^ ((b >> bit & 1) * a);
    }
    product
}

/// Returns the multiplicative inverse: the 254th power.
fn inverse(a: u8) -> u8 {
    (0..253).fold(a, |power, _| multiply(power, a))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn share(x: u8, coefficients: &[[u8; KEY]]) -> Zeroizing<Vec<u8>> {
        let mut bytes: Vec<u8> =
            (0..KEY).map(|at| coefficients.iter().rev().fold(0, |sum, row| multiply(sum, x) ^ row[at])).collect();
        bytes.push(x);
        Zeroizing::new(bytes)
    }

    #[test]
    fn any_two_of_three_shares_give_the_key() {
        let secret: [u8; KEY] = std::array::from_fn(|at| at as u8 * 7);
        let slope: [u8; KEY] = std::array::from_fn(|at| 255 - at as u8);
        let shares = [1, 2, 9].map(|x| share(x, &[secret, slope]));
        for pair in [[0, 1], [0, 2], [1, 2]] {
            assert_eq!(*combine(&pair.map(|at| shares[at].clone())).unwrap(), secret);
        }
        assert_eq!(*combine(&shares).unwrap(), secret);
        assert!(combine(&shares[..1]).is_none(), "one share");
        assert!(combine(&[shares[0].clone(), shares[0].clone()]).is_none(), "a repeated share");
        assert!(combine(&[shares[0].clone(), Zeroizing::new(vec![1; 5])]).is_none(), "a short share");
    }

    #[test]
    fn each_element_has_its_inverse() {
        assert!((1..=255).all(|a| multiply(a, inverse(a)) == 1));
    }
}
