-- ARGV: 1 channel, then for each owner: digest, weighted tokens
for index = 2, #ARGV - 2, 2 do
    local row = row_of(ARGV[index])
    if row then
        row.counter = row.counter + tonumber(ARGV[index + 1])
        settle(ARGV[index], row)
    end
end
return 0
