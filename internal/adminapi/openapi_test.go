package adminapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite docs/openapi.json")

// TestOpenAPIInDocs keeps docs/openapi.json to the route table.
func TestOpenAPIInDocs(t *testing.T) {
	s := New(Config{Version: "0"})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/openapi.json", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("GET /v1/openapi.json: %d", w.Code)
	}
	var want bytes.Buffer
	if err := json.Indent(&want, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "docs", "openapi.json")
	if *updateDocs {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want.Bytes())) {
		t.Errorf("docs/openapi.json is not what the table says (%v): go test ./internal/adminapi -run OpenAPIInDocs -update-docs", err)
	}
}
