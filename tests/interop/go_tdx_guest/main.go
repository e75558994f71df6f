// Judges the TDX cases of a case file (data/tdx/cases-*.json) with go-tdx-guest: one line "<id> OK" or "<id> <error>"
// each. Collateral comes from the files that a case names.
package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-tdx-guest/verify"
)

type testCase struct {
	ID              string `json:"id"`
	Quote           string `json:"quote"`
	TcbInfo         string `json:"tcb_info"`
	QeIdentity      string `json:"qe_identity"`
	RootCrl         string `json:"root_crl"`
	PckCrl          string `json:"pck_crl"`
	PckCrlChain     string `json:"pck_crl_issuer_chain"`
	TcbSigningChain string `json:"tcb_signing_chain"`
	QeSigningChain  string `json:"qe_signing_chain"`
	Root            string `json:"root"`
	Time            string `json:"time"`
}

// Answers as Intel's service would, from the files of one case.
type files struct {
	folder string
	c      testCase
}

func (f files) read(name string) []byte {
	data, err := os.ReadFile(filepath.Join(f.folder, name))
	if err != nil {
		panic(err)
	}
	return data
}

func (f files) Get(address string) (map[string][]string, []byte, error) {
	chain := func(header, name string) map[string][]string {
		return map[string][]string{header: {url.QueryEscape(string(f.read(name)))}}
	}
	switch {
	case strings.Contains(address, "/tcb?"):
		return chain("Tcb-Info-Issuer-Chain", f.c.TcbSigningChain), f.read(f.c.TcbInfo), nil
	case strings.Contains(address, "/qe/identity"):
		return chain("Sgx-Enclave-Identity-Issuer-Chain", f.c.QeSigningChain), f.read(f.c.QeIdentity), nil
	case strings.Contains(address, "/pckcrl"):
		return chain("Sgx-Pck-Crl-Issuer-Chain", f.c.PckCrlChain), f.read(f.c.PckCrl), nil
	}
	return nil, f.read(f.c.RootCrl), nil
}

func judge(folder string, c testCase) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	f := files{folder, c}
	at, err := time.Parse(time.RFC3339, c.Time)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.read(c.Root))
	return verify.RawTdxQuote(f.read(c.Quote), &verify.Options{
		CheckRevocations: true, GetCollateral: true, Getter: f, Now: at, TrustedRoots: roots})
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var document struct{ Cases []testCase }
	if err := json.Unmarshal(text, &document); err != nil {
		panic(err)
	}
	folder := filepath.Dir(os.Args[1])
	for _, c := range document.Cases {
		if err := judge(folder, c); err != nil {
			fmt.Println(c.ID, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println(c.ID, "OK")
		}
	}
}
