"""A shop to look at: customers, a catalogue with pictures, carts and past orders, from three numbers."""

from local.sample_data.csv_files import write_csv
from local.sample_data.customers import DEMO_POINTS, DEMO_USERNAME, HOUSEHOLD_USERNAMES, STAFF_USERNAMES
from local.sample_data.generate import Enrolment, enrolment_messages, generate
from local.sample_data.load import (
    CATALOGUE_TABLES,
    MAX_ROWS,
    Loaded,
    OtherDataError,
    load,
    load_catalogue,
    pictures_in_use,
)
from local.sample_data.pictures import draw_pictures, upload_pictures
from local.sample_data.progress import Progress, shown, silent
from local.sample_data.rows import SampleData

__all__ = [
    "CATALOGUE_TABLES",
    "DEMO_POINTS",
    "DEMO_USERNAME",
    "HOUSEHOLD_USERNAMES",
    "MAX_ROWS",
    "STAFF_USERNAMES",
    "Enrolment",
    "Loaded",
    "OtherDataError",
    "Progress",
    "SampleData",
    "draw_pictures",
    "enrolment_messages",
    "generate",
    "load",
    "load_catalogue",
    "pictures_in_use",
    "shown",
    "silent",
    "upload_pictures",
    "write_csv",
]
