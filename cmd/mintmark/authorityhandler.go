package main

import (
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/adminapi"
	ctl "github.com/mintmark/mintmark/internal/control"
	"github.com/mintmark/mintmark/internal/statusprovider"
)

// authorityHandler is all that stands on the authority's listener: its own
// endpoints, the status lists, and the global token revocation endpoint.
func (p *plane) authorityHandler(c *ctl.Control, a adminapi.Authority) http.Handler {
	lists := statusprovider.New(statusprovider.Config{
		Issuer: p.auth.Issuer(), Layout: p.auth.StatusLayout(), Store: p.store, State: p.fleet, Judge: p.auth,
		Issued: p.ledger.Issued, Now: time.Now, Log: p.log,
	})
	mux := http.NewServeMux()
	mux.Handle(p.auth.StatusPath(), lists.Handler(p.auth.StatusPath()))
	mux.Handle(p.auth.GlobalPath(), adminapi.GlobalRevocation(a, c, p.log))
	mux.Handle("/", p.auth.Handler())
	return mux
}
