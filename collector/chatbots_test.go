package collector_test

import (
	"strings"
	"testing"

	"github.com/chatwize-exporter/chatwize_exporter/collector"
)

// A UUID finds its chatbot in either spelling, wherever it is on the list, and in
// the spelling of the list.
func TestFind(t *testing.T) {
	const otherUUID = "7f5e5376dbf045cd8c72c60f428653d3"
	shop, desk := collector.Chatbot{UUID: shopUUID, Name: "Shop"}, collector.Chatbot{UUID: deskUUID, Name: "Desk"}
	dashed := func(uuid string) string {
		return strings.ToUpper(uuid[:8] + "-" + uuid[8:12] + "-" + uuid[12:16] + "-" + uuid[16:20] + "-" + uuid[20:])
	}
	bare := func(uuid string) string { return strings.ToLower(strings.ReplaceAll(uuid, "-", "")) }
	tests := map[string]struct {
		uuid string
		want collector.Chatbot // none: not found
	}{
		"first":                  {shopUUID, shop},
		"first, other spelling":  {dashed(shopUUID), shop},
		"second":                 {deskUUID, desk},
		"second, other spelling": {bare(deskUUID), desk},
		"third, spelled as both": {otherUUID[:31] + "4", collector.Chatbot{UUID: dashed(otherUUID[:31] + "4")}},
		"another":                {otherUUID, collector.Chatbot{}},
		"another, dashed":        {dashed(otherUUID), collector.Chatbot{}},
		"part of one":            {shopUUID[:31], collector.Chatbot{}},
		"none":                   {"", collector.Chatbot{}},
	}
	chatbots := collector.Chatbots{shop, desk, {UUID: dashed(otherUUID[:31] + "4")}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := chatbots.Find(test.uuid)
			if got != test.want || ok != (test.want != collector.Chatbot{}) {
				t.Errorf("got %+v, %t, want %+v", got, ok, test.want)
			}
		})
	}
	if got, ok := (collector.Chatbots{}).Find(shopUUID); ok {
		t.Errorf("on an empty list: got %+v", got)
	}
}
