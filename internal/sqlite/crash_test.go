package sqlite_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/ledger"
	"github.com/mintmark/mintmark/internal/storetest"
)

const crashDir = "MINTMARK_TEST_CRASH_DIR"

// TestCrashChild appends until it is killed, and prints what it was told is
// durable. It is run by TestCrash.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("run by TestCrash")
	}
	b := storetest.Start(t, open(t, dir))
	b.Clock.Store(time.Now().UnixMilli())
	var mu sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	for w := range 8 {
		go func() {
			for i := 0; ; i++ {
				id, e := b.Token(nil)
				batch := ledger.Batch{Events: []mintmark.Event{e}}
				if w == 0 {
					batch.Row = b.Row(nil)
				}
				if _, err := b.Append(context.Background(), batch); err != nil {
					return
				}
				b.Clock.Add(1)
				mu.Lock()
				fmt.Fprintf(out, "durable %s\n", id)
				out.Flush()
				mu.Unlock()
			}
		}()
	}
	select {}
}

// TestCrash kills a writing process at random moments, on one directory over and
// over: whatever it was told is durable is there, and the ledger proves itself.
func TestCrash(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 3))
	t.Logf("seed %d", seed)
	for round := range rounds {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first durable append starts the clock: a moment within the work.
		in := bufio.NewReader(pipe)
		var told bytes.Buffer
		line, err := in.ReadString('\n')
		told.WriteString(line)
		if err == nil {
			time.AfterFunc(time.Duration(r.IntN(120_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			_, err = io.Copy(&told, in)
		}
		_ = cmd.Wait()
		if err != nil {
			t.Fatalf("round %d: %v: %s", round, err, told.String())
		}
		b := storetest.Start(t, open(t, dir))
		n := 0
		for text := range bytes.Lines(told.Bytes()) {
			var id string
			if _, err := fmt.Sscanf(string(text), "durable %s\n", &id); err != nil || text[len(text)-1] != '\n' {
				continue
			}
			n++
			if _, err := b.Store.TokenByID(context.Background(), mintmark.TokenID(id)); err != nil {
				t.Errorf("round %d: %s was durable: %v", round, id, err)
			}
		}
		if n == 0 {
			t.Errorf("round %d: nothing was told durable: %s", round, told.String())
		}
		b.Clock.Store(time.Now().UnixMilli())
		b.Verify(t)
		b.Stop()
	}
}
