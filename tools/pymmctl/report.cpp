#include "report.hpp"

#include <unistd.h>

#include <cstdio>
#include <new>

#include "failure.hpp"
#include "text.hpp"

namespace pymmctl {

void complain(const Context& context, const std::string& message) {
    std::string line = "pymmctl";
    if (!context.name.empty()) line += " " + context.name;
    line += ": " + for_fd(STDERR_FILENO, message) + "\n";
    std::fputs(line.c_str(), stderr);
}

Exit guarded(const Context& context, const std::function<void()>& action,
             const std::function<bool(Exit)>& tell) {
    Exit code = Exit::success;
    const auto caught = [&](Exit failed, const std::string& message) {
        code = failed;
        if (!tell || tell(failed)) complain(context, message);
    };
    try {
        action();
    } catch (const OutputClosed&) {
        throw;
    } catch (const Failure& error) {
        caught(error.code(), error.what());
    } catch (const pymm::Error& error) {
        caught(exit_of(error), error.what());
    } catch (const std::bad_alloc&) {
        caught(Exit::failure, "out of memory");
    } catch (const std::exception& error) {
        caught(Exit::failure, error.what());
    }
    return code;
}

}  // namespace pymmctl
