// Package adminapi answers operators and pipelines over HTTP: who is asking, may
// they, and what control says. It is the one surface by which people and programs
// change what Mintmark does.
//
// One table (routes.go) has a row for each operation: method, path, the roles that
// may call it, and what it calls. The OpenAPI 3.1 document is generated from the
// same table. Every operation but joining needs an access token of our own
// authority for the admin audience; joining needs a one-time join token. Errors
// are problem details with stable codes; the client never sees a cause.
package adminapi
