// Package oauth answers what the words of OAuth 2 and OpenID Connect look like on
// the wire: error codes, forms, scopes, PKCE, redirect URIs, the Authorization
// header, challenges, DPoP proofs, client assertions and metadata documents.
//
// It decides nothing about tokens and keeps nothing: single use of a code, a
// proof's jti or an assertion is the caller's. Everything is pure, takes time as
// an argument and is safe for concurrent use.
//
// Sources: RFC 6749, 6750, 7009, 7523, 7636, 8252, 8414, 8628, 8693, 8705, 8707,
// 9126, 9207, 9449, 9470, 9700, 9728. Where they leave room we take the stricter
// reading, and say so at the line.
package oauth
