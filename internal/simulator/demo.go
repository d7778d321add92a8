package simulator

import (
	"math"
	"net/http"
	"time"
)

// Demo returns an account with three chatbots, which have had sessions for four weeks
// before start and go on: a shop with a daily pattern, a product launch that took off
// two days ago, and a members' desk where most visitors are verified. The desk fails
// for twenty seconds every five minutes.
func Demo(key string, start time.Time) *Account {
	begin := start.AddDate(0, 0, -28)
	shop := Arrivals{
		Seed: 1, Start: begin, PerHour: daily(40, 0.8), Lead: 0.12, Verified: 0.03,
	}
	launch := Arrivals{
		Seed: 2, Start: begin, PerHour: takeOff(1200, start.AddDate(0, 0, -2)), Lead: 0.3, Verified: 0.01,
	}
	desk := Arrivals{
		Seed: 3, Start: begin, PerHour: daily(6, 0.9), Lead: 0.05, Verified: 0.7,
	}
	return &Account{
		Key: key,
		Chatbots: []Chatbot{
			{UUID: "7f5e5376dbf045cd8c72c60f428653d1", Name: "Shop", Sessions: shop.Sessions},
			{UUID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "Product launch", Sessions: launch.Sessions},
			{UUID: "c0ffee00c0ffee00c0ffee00c0ffee00", Name: "Members’ desk", Sessions: desk.Sessions,
				Fault: func(now time.Time) Fault {
					if now.Sub(start)%(5*time.Minute) < 280*time.Second {
						return Fault{}
					}
					return Fault{Status: http.StatusInternalServerError}
				}},
		},
	}
}

// daily returns a rate with a daily pattern around mean, in UTC: lowest at 3:00, highest
// at 15:00.
func daily(mean, swing float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		hour := float64(t.Unix()%86400) / 3600
		return mean * (1 - swing*math.Cos((hour-3)/24*2*math.Pi))
	}
}

// takeOff returns a rate that grows from almost 0 to top, and is half of top at middle.
func takeOff(top float64, middle time.Time) func(time.Time) float64 {
	return func(t time.Time) float64 {
		return 0.2 + top/(1+math.Exp(-t.Sub(middle).Hours()/8))
	}
}
