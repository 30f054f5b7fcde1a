package bus

import "github.com/mintmark/mintmark"

// Spooled is an encoded RecordBatch on a gateway's disk.
type Spooled struct {
	ID   int64 // grows in the order of storing
	Boot mintmark.BootID
	Seq  uint64
	Body []byte
}
