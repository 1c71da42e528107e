describe("follow_up", function()
  it("asks again until it is done", function()
    local asked = mock.ask { { done = false }, { done = false }, { done = true } }
    local begun = now()
    expect(spell("follow_up"):cast { what = "the report" }).to_equal { asked = 3 }
    expect(now() - begun).to_be_near(2 * 24 * 3600, 60)
    expect(asked.questions()[1].message).to_equal "Is it done: the report?"
  end)

  it("waits as long as it is told", function()
    mock.ask { { done = false }, { done = true } }
    local begun = now()
    spell("follow_up"):cast { what = "the report", every = "10m" }
    expect(now() - begun).to_be_near(600, 60)
  end)

  it("ends when nobody wants to answer", function()
    mock.ask { "decline" }
    expect(function()
      spell("follow_up"):cast { what = "the report" }
    end).to_fail "ask.declined"
  end)
end)
