describe("notes", function()
  local ann, ben = spell("notes", { user = "ann" }), spell("notes", { user = "ben" })

  it("keeps what anybody adds, with its time", function()
    mock.now(1000)
    ann:cast { action = "add", text = "buy owls", author = "Ann" }
    mock.now(2000)
    ben:cast { action = "add", text = "feed them" }
    expect(ann:cast { action = "list" }.notes).to_equal {
      { id = 1, text = "buy owls", author = "Ann", at = 1000 },
      { id = 2, text = "feed them", at = 2000 },
    }
  end)

  it("finds words whatever their case", function()
    ann:cast { action = "add", text = "Buy Owls" }
    ann:cast { action = "add", text = "rest" }
    local found = ben:cast { action = "search", text = "owls" }.notes
    expect(#found).to_equal(1)
    expect(found[1].text).to_equal "Buy Owls"
  end)

  it("refuses a note without a text", function()
    expect(function()
      ann:cast { action = "add" }
    end).to_fail("notes.empty", "needs a text")
    expect((State.shared:get "notes.count")).to_be_nil()
  end)
end)
