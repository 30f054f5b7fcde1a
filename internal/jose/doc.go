// Package jose answers whether a compact JWS says what it says under a key that
// we chose, and prints such texts.
//
// It is the verifier of RFC 8725, strict where the RFC leaves room, because two
// readings of one token are how attacks begin:
//
//   - the algorithm is pinned by the key (§3.1); "none" and HMAC never verify
//     under a public key;
//   - no key, key location or certificate from the token's own header is ever
//     used: headers that carry one are refused, but for the "jwk" of a DPoP proof
//     (RFC 9449 §4.2), which the caller asks for;
//   - "crit" and "b64" are refused, "typ" is returned for the caller to compare;
//   - base64url without padding, whitespace or spare bits, so that one token has
//     one spelling;
//   - JSON with duplicate members at any depth, bad UTF-8, lone surrogates,
//     excessive depth or trailing text is refused (RFC 8259 §4, RFC 7493 §2);
//   - sizes are capped before any other work.
//
// Reading is done by a scanner over one string, without reflection: what comes
// out are views of that string. Verification is the standard library's.
//
// Everything is pure. Keys and parsed texts are immutable once made and safe for
// concurrent use; a Scanner belongs to one goroutine.
package jose
