// Package web answers how this program speaks HTTP outside the data plane: a
// server with bounds, problem details, certificates that reload, the one client
// for outgoing calls, and the headers every surface sets.
//
// Nothing here knows the product's nouns beyond refusal codes. Everything is
// safe for concurrent use unless said otherwise; New functions start nothing.
package web
