describe("research_brief", function()
  it("lets the editor write from what both researchers found", function()
    local model = mock.model {
      { system = "scientific literature", text = "Owls are silent." },
      { system = "markets and figures", text = "Farmers like owls." },
      { system = "write briefs", text = "# Owls" },
    }
    expect(spell("research_brief"):cast { topic = "owls" }).to_equal "# Owls"

    local requests = model:requests()
    expect(#requests).to_equal(3)
    local asked = requests[3].messages[2].text
    expect(asked).to_contain "Owls are silent."
    expect(asked).to_contain "Farmers like owls."
  end)

  it("fails when a researcher gets no answer", function()
    mock.model {
      { system = "markets and figures", error = "rate_limit" },
      { text = "never mind" },
    }
    expect(function()
      spell("research_brief"):cast { topic = "owls" }
    end).to_fail "model.rate_limit"
  end)
end)
