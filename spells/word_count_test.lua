describe("word_count", function()
  local function count(text)
    return spell("word_count"):cast { text = text }
  end

  it("counts words, lines and characters", function()
    expect(count "one two\nthree\n").to_equal { words = 3, lines = 2, characters = 14 }
  end)

  it("counts a last line without an end", function()
    expect(count("a\nb").lines).to_equal(2)
  end)

  it("counts characters, not bytes", function()
    expect(count("é").characters).to_equal(1)
  end)

  it("finds nothing in an empty text", function()
    expect(count "").to_equal { words = 0, lines = 0, characters = 0 }
  end)
end)
