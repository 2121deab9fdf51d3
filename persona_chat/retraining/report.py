"""How a job is told to people, in plain lines: how far it is, how it compares, how it ended."""

from persona_chat.language import N_, _, grouped
from persona_chat.retraining.gate import Bounds, Line, judge, shown
from persona_chat.retraining.plan import spoken_time
from persona_chat.store.jobs import Job, State

BAR_CELLS = 20

_STATES = {
    State.TRAINING: N_("learning"),
    State.EVALUATING: N_("comparing"),
    State.PROMOTING: N_("putting the new adapter in service"),
    State.PROMOTED: N_("in service"),
    State.PARKED: N_("parked"),
    State.CANCELLED: N_("cancelled"),
    State.FAILED: N_("failed"),
    State.INTERRUPTED: N_("interrupted"),
}


def standing(job: Job) -> str:
    """Say in a word or two where a job stands."""
    return _(_STATES[job.state])


def progress(job: Job) -> str:
    """Say in a line how far a job is that is under way."""
    if job.cancel_asked:
        return _("Cancelling…")
    if job.state is State.EVALUATING:
        return _("Learned. Comparing it with {adapter}…").format(adapter=in_service(job))
    if job.state is State.PROMOTING:
        return _("It passed. Putting it in service…")
    if not job.step:
        return _("Getting ready…")
    parts = [_("step {step} of {steps}").format(step=job.step, steps=job.order.steps)]
    if job.loss is not None:
        parts.append(_("loss {loss}").format(loss=grouped(job.loss, 2)))
    if job.seconds_left is not None:
        left = _("about {time} left, then it is compared")
        parts.append(left.format(time=spoken_time(job.seconds_left)))
    return f"{bar(job.step / job.order.steps)} {' · '.join(parts)}"


def bar(share: float) -> str:
    """Draw a share, 0 to 1, in text."""
    full = round(min(1.0, max(0.0, share)) * BAR_CELLS)
    return "█" * full + "░" * (BAR_CELLS - full)


def card(job: Job) -> list[str]:
    """Return a line for each metric: how it is in service, how the candidate is, what passes. Empty if unmeasured."""
    if not job.candidate_scores and not job.service_scores:
        return []
    verdict = judge(job.candidate_scores, job.service_scores, Bounds().fewest_rows)
    return [_line(line) for line in verdict.lines]


def outcome(job: Job, use: str = "persona-chat adapters use") -> str:
    """Say in a sentence or two how a job ended. `use` is the command that puts an adapter in service."""
    kept = _("{adapter} is kept; `{use} {adapter}` would take it all the same.").format(adapter=job.candidate, use=use)
    reason = f" {job.reason}" if job.reason else ""
    match job.state:
        case State.PROMOTED:
            return _("In service now: {adapter}.").format(adapter=job.candidate)
        case State.PARKED:
            return _("Parked.") + reason + (f" {kept}" if job.candidate else "")
        case State.CANCELLED:
            return _("Cancelled.") + " " + _goes_on(job)
        case State.FAILED:
            return _("Failed.") + f"{reason} {_goes_on(job)}"
        case State.INTERRUPTED:
            files = f" Its files are in {job.run_folder}." if job.run_folder and not job.order.channel_id else ""
            return _("Interrupted.") + reason + files
    return progress(job)


def in_service(job: Job) -> str:
    """How the adapter is called that served when the job began."""
    return job.order.in_service or _("what is in service")


def _goes_on(job: Job) -> str:
    if job.order.in_service is None:
        return _("What is in service goes on.")
    return _("{adapter} goes on.").format(adapter=job.order.in_service)


def _line(line: Line) -> str:
    mark = "✅" if line.passed else "❌"
    now, new = shown(line.service, line.share), shown(line.candidate, line.share)
    bound = ""
    if line.bound is not None:
        limit = _(" (at most {bound})") if line.at_most else _(" (at least {bound})")
        bound = limit.format(bound=shown(line.bound, line.share))
    compared = _("{metric}: {now} in service, {new} new{bound}")
    return f"{mark} {compared.format(metric=_(line.metric), now=now, new=new, bound=bound)}"
