package fleet_test

import (
	"github.com/mintmark/mintmark/internal/fleet"
	"github.com/mintmark/mintmark/internal/follower"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/recorder"
	"github.com/mintmark/mintmark/internal/spool"
	"github.com/mintmark/mintmark/internal/sqlite"
	"github.com/mintmark/mintmark/internal/usage"
)

// What the engines and states give is what the roles ask for.
var (
	_ fleet.Ledger    = (*ledger.Ledger)(nil)
	_ fleet.Store     = (*sqlite.Store)(nil)
	_ recorder.Ledger = (*ledger.Ledger)(nil)
	_ recorder.Store  = (*sqlite.Store)(nil)
	_ follower.Store  = (*sqlite.GatewayStore)(nil)
	_ spool.Store     = (*sqlite.GatewayStore)(nil)
	_ spool.Counter   = (*usage.Counter)(nil)
)
