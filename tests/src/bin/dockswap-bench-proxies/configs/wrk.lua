-- Asks for one host, or for each of many in turn; says what came of it as JSON.
-- Arguments: how many hosts (0: what the address says), then the path.
local requests, turn = {}, 0

function init(args)
    local count = tonumber(args[1] or "0")
    if count > 0 then
        for i = 0, count - 1 do
            wrk.headers["Host"] = count == 1 and "localhost" or ("app-" .. i .. ".test")
            requests[i] = wrk.format("GET", args[2])
        end
        request = function()
            turn = (turn + 1) % count
            return requests[turn]
        end
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"micros":%d,"p50":%d,"p99":%d,"failed":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
